"""Changes after the headers are kept; a commit that was refused is not tried again."""

from collections.abc import Iterator

import pytest

from clustersession.core.errors import UnserializableValue
from clustersession.requests.late_changes import LateBody, save_late, save_late_async
from clustersession.session.visit import visit_of
from tests.session.fakes import World


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_what_a_body_changes_is_stored_and_commits_nothing_twice(asynchronous: bool) -> None:
    world = World()
    cookie = world.store(n=1)
    session = world.open([cookie])
    session["n"] = 2
    world.commit(session)
    commits = len(world.replica.commits)

    async def save() -> None:
        if asynchronous:
            await save_late_async(world.manager, visit_of(session))
        else:
            save_late(world.manager, visit_of(session))

    await save()
    assert len(world.replica.commits) == commits
    session["n"] = 3
    await save()
    assert world.open([cookie]) == {"n": 3}


def test_a_value_that_was_refused_is_not_refused_once_more() -> None:
    world = World()
    session = world.open([world.store(n=1)])
    session["thing"] = object()
    with pytest.raises(UnserializableValue):
        world.commit(session)
    save_late(world.manager, visit_of(session))


@pytest.mark.parametrize("read", [True, False])
def test_a_body_commits_when_it_is_closed_whether_or_not_it_was_read(read: bool) -> None:
    world = World()
    cookie = world.store(n=1)
    session = world.open([cookie])
    closed: list[bool] = []

    class Parts:
        def __iter__(self) -> Iterator[bytes]:
            session["n"] = 2
            yield b"x"

        def close(self) -> None:
            session["closed"] = 1
            closed.append(True)

    world.commit(session)
    body = LateBody(world.manager, visit_of(session), Parts())
    assert list(body) == [b"x"] if read else True
    body.close()
    assert closed == [True]
    assert world.open([cookie]) == {"n": 2 if read else 1, "closed": 1}


def test_a_body_that_fails_commits_nothing_more() -> None:
    world = World()
    cookie = world.store(n=1)
    session = world.open([cookie])
    visit = visit_of(session)

    def parts() -> Iterator[bytes]:
        yield b"x"
        session["n"] = 2
        raise RuntimeError

    world.commit(session)
    body = LateBody(world.manager, visit, parts())
    with pytest.raises(RuntimeError):
        list(body)
    body.close()
    assert not visit.is_open
    assert world.open([cookie]) == {"n": 1}


@pytest.mark.parametrize("rotates", [True, False])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_login_whose_client_is_gone_is_not_one_under_the_old_id(
    asynchronous: bool, rotates: bool
) -> None:
    world = World()
    planted = world.store(n=1)
    session = world.open([planted])
    if rotates:
        session.rotate()
    session["user"] = "ann"
    session.principal = "ann"
    if asynchronous:
        await save_late_async(world.manager, visit_of(session))
    else:
        save_late(world.manager, visit_of(session))
    assert world.open([planted]) == {}
    assert session.sid is not None
    assert world.open([session.sid]) == {"n": 1, "user": "ann"}


def test_no_session_begins_for_a_client_that_is_gone() -> None:
    world = World()
    session = world.open([])
    session["n"] = 1
    save_late(world.manager, visit_of(session))
    assert not world.replica.states
