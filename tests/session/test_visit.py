"""A request's notes: they hold its session no longer than the request lasts."""

import gc
from typing import Any
from weakref import ref

import pytest

from clustersession.session.session import Session
from clustersession.session.visit import visit_of
from tests.session.fakes import World


def after_the_request(world: World, **values: Any) -> Session:
    session = world.open([world.store(**values)])
    world.commit(session)
    visit_of(session).release()
    return session


def test_session_and_visit_go_with_the_request_and_need_no_garbage_collection() -> None:
    world = World()
    session = world.open([world.store(cart=[1])])
    assert session["cart"] == [1]
    visit = visit_of(session)
    gone = ref(visit)
    world.commit(session)
    gc.disable()
    try:
        visit.release()
        visit.release()
        del session, visit
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("change", [
    lambda s: s.update(n=2), lambda s: s["cart"].append(2),
    lambda s: setattr(s, "principal", "ann"), lambda s: setattr(s, "idle_timeout", 5),
    lambda s: setattr(s, "permanent", True), lambda s: s.invalidate(), lambda s: s.clear(),
])
def test_whoever_keeps_a_session_longer_can_go_on_with_it(change: Any) -> None:
    world = World()
    session = after_the_request(world, n=1, cart=[1])
    commits = len(world.replica.commits)
    change(session)
    session.save()
    assert len(world.replica.commits) == commits + 1


async def test_it_can_be_reloaded_too() -> None:
    world = World()
    session = after_the_request(world, n=1)
    other = world.open([f"{session.sid}.a"])
    other["n"] = 2
    world.commit(other)
    assert session.reload()
    assert await session.areload()
    assert session == {"n": 2}


def test_a_thread_may_save_while_its_request_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    session = world.open([world.store(n=1)])
    session["n"] = 2
    commit = world.replica.commit

    def commit_as_the_request_ends(*arguments: Any) -> Any:
        visit_of(session).release()
        return commit(*arguments)

    monkeypatch.setattr(world.replica, "commit", commit_as_the_request_ends)
    session.save()
    assert not session.modified
    assert not visit_of(session).touched


def test_what_is_kept_longer_needs_no_garbage_collection_either() -> None:
    world = World()
    session = after_the_request(world, n=1)
    session.principal = "ann"
    session.save()
    gone = ref(visit_of(session))
    gc.disable()
    try:
        del session
        assert gone() is None
    finally:
        gc.enable()
