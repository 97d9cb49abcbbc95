"""Events of sessions: who is told what, when, and what it costs those who do not listen."""

import logging
from typing import Any

import pytest
import trio
import trio.testing

from clustersession.net.async_library import in_trio
from clustersession.session.events import KINDS, Event
from tests.session.fakes import Users, World, cookie_of


def told(world: World, *kinds: str) -> list[Event]:
    events: list[Event] = []
    for kind in kinds or KINDS:
        world.manager.events.on(kind, events.append)
    return events


def test_a_session_is_created_changed_rotated_and_ended() -> None:
    world = Users()
    events = told(world)
    cookie = world.store(user="ann", cart=["tea"])
    session = world.open(cookie)
    session["cart"].append("milk")
    del session["user"]
    world.commit(session)
    session = world.open(cookie)
    session.rotate()
    session.principal = "ann"
    moved = world.answer(session)
    session = world.open(moved)
    session.invalidate()
    world.commit(session)
    assert [(e.kind, e.reason) for e in events] == [
        ("created", None), ("changed", None), ("created", None), ("ended", "rotated"),
        ("ended", "invalidated"),
    ]
    created, changed, *_, ended = events
    assert created.data == {"user": "ann", "cart": ["tea"]}
    assert set(changed.names) == {"cart", "user"}
    assert changed.session == created.session
    assert (ended.principal, ended.data) == ("ann", {"cart": ["tea", "milk"]})
    assert all(e.here for e in events)
    assert cookie[:8] not in repr(created.session)


def test_a_request_that_only_reads_is_no_event() -> None:
    world = Users()
    cookie = world.store(n=1)
    events = told(world)
    world.now_ms += 600_000
    session = world.open(cookie)
    assert session["n"] == 1
    world.commit(session)
    assert events == []


def test_ending_a_users_sessions_is_told_for_each_and_once_for_the_user() -> None:
    world = Users()
    events = told(world, "ended", "principal_ended")
    world.login()
    world.login()
    world.manager.sessions().end_all("ann")
    assert sorted((e.kind, e.principal, e.reason) for e in events) == [
        ("ended", "ann", "revoked"), ("ended", "ann", "revoked"), ("principal_ended", "ann", None),
    ]


def test_a_callback_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    world = Users()

    def bad(event: Event) -> None:
        raise RuntimeError("the test says so")

    world.manager.events.on("created", bad)
    events = told(world, "created")
    with caplog.at_level(logging.ERROR):
        cookie = world.store(n=1)
    assert len(events) == 1
    assert world.is_alive(cookie)
    assert "a callback for created" in caplog.text
    with pytest.raises(ValueError, match="there is no event 'crated'"):
        world.manager.events.on("crated", bad)


def test_coroutines_run_to_their_end_without_a_loop_and_are_awaited_with_one() -> None:
    world = Users()
    seen: list[str] = []

    @world.manager.events.on("created")
    async def callback(event: Event) -> None:
        seen.append(event.kind)
        raise RuntimeError("the test says so")

    world.store(n=1)
    assert seen == ["created"]


@pytest.mark.asyncio
async def test_coroutines_are_awaited_before_the_response() -> None:
    world = Users()
    seen: list[Any] = []

    @world.manager.events.on("created")
    async def callback(event: Event) -> None:
        seen.append(event.data)

    session = world.open([])
    session["n"] = 1
    outcome = await world.commit_async(session)
    assert seen == [{"n": 1}]
    assert world.is_alive(cookie_of(outcome.set_cookie or ""))


def test_under_trio_coroutines_are_trios_wherever_they_are_called() -> None:
    world = Users()
    seen: list[tuple[Any, bool]] = []

    @world.manager.events.on("created")
    async def callback(event: Event) -> None:
        await trio.lowlevel.checkpoint()
        seen.append((event.data["n"], in_trio()))

    async def main() -> None:
        session = world.open([])
        session["n"] = 1
        await world.commit_async(session)
        assert seen == [(1, True)]
        world.store(n=2)
        await trio.testing.wait_all_tasks_blocked()
        assert len(seen) == 2

    trio.run(main)
    # On a thread, as for what the agent tells and in a handler that is no coroutine.
    world.manager.events.by_trio = True
    world.store(n=3)
    assert seen == [(1, True), (2, True), (3, True)]


def test_nobody_listening_costs_no_look_at_the_replica() -> None:
    world = World()
    cookie = world.store(n=1)
    world.replica.gets.clear()
    session = world.open([cookie])
    session.invalidate()
    world.commit(session)
    assert world.replica.gets == [cookie[:23]]
