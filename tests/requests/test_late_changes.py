"""Changes after the headers are kept; a commit that was refused is not tried again."""

import pytest

from clustersession.core.errors import UnserializableValue
from clustersession.requests.late_changes import save_late, save_late_async
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
