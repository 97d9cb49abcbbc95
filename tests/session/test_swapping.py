"""An attribute is set if it still is what its caller believes, judged by what is stored."""

import asyncio
from typing import Any

import pytest

from clustersession import Counter, MergingList
from clustersession.core.errors import ReplicationFailed, SessionTooLarge, UnserializableValue
from clustersession.session.visit import visit_of
from tests.session.fakes import Users, World


def other(world: World, cookie: str, **values: Any) -> None:
    session = world.open([cookie])
    session.update(values)
    world.commit(session)


def test_one_of_two_who_read_the_same_is_told_that_it_was(world: World) -> None:
    cookie = world.store(step=1, cart=["tea"])
    first, second = world.open([cookie]), world.open([cookie])
    assert (first["step"], second["step"]) == (1, 1)
    assert first.swap("step", 1, 2)
    assert not second.swap("step", 1, 3)
    assert (first["step"], second["step"]) == (2, 2)
    assert world.open([cookie]) == {"step": 2, "cart": ["tea"]}


def test_it_is_compared_with_what_is_stored_and_not_with_what_was_read(world: World) -> None:
    cookie = world.store(step=1)
    session = world.open([cookie])
    other(world, cookie, step=5)
    assert session.swap("step", 5, 6)
    assert session["step"] == 6


@pytest.mark.parametrize("expected", ["own", 1])
def test_what_is_unsaved_of_the_attribute_is_dropped(world: World, expected: object) -> None:
    session = world.open([world.store(step=1)])
    session["step"] = "own"
    assert session.swap("step", expected, 2) is (expected == 1)
    assert session["step"] == (2 if expected == 1 else 1)
    assert not visit_of(session).unsaved


@pytest.mark.parametrize("works", [True, False])
def test_the_rest_stays_unsaved(world: World, works: bool) -> None:
    cookie = world.store(step=1, a=1, cart=["tea"], gone=1)
    session = world.open([cookie])
    session["a"] = "own"
    session["cart"].append("milk")
    del session["gone"]
    other(world, cookie, b=2)
    assert session.swap("step", 1 if works else 0, 2) is works
    assert session == {"step": 2 if works else 1, "a": "own", "cart": ["tea", "milk"], "b": 2}
    stored = world.open([cookie])
    assert stored == {"step": 2 if works else 1, "a": 1, "cart": ["tea"], "gone": 1, "b": 2}
    world.commit(session)
    assert world.open([cookie]) == session


@pytest.mark.parametrize(("stored", "expected"), [
    (1, True), (1, 1.0), ("1", 1), ((1,), [1]), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (0, None),
])
def test_values_are_compared_as_they_are_stored(
    world: World, stored: object, expected: object
) -> None:
    session = world.open([world.store(step=stored)])
    assert not session.swap("step", expected, 2)
    assert session.swap("step", stored, 2)


def test_none_stands_for_what_is_not_there(world: World) -> None:
    cookie = world.store(a=1)
    session, late = world.open([cookie]), world.open([cookie])
    assert session.swap("owner", None, "me")
    assert not late.swap("owner", late.get("owner"), "too late")
    assert world.open([cookie])["owner"] == "me"
    assert session.swap("owner", "me", None)
    assert late.swap("owner", None, "next")


def test_what_merges_is_no_value_to_swap(world: World) -> None:
    cookie = world.store(cart=MergingList(["tea"]))
    session = world.open([cookie])
    with pytest.raises(TypeError, match="MergingList"):
        session.swap("cart", MergingList(["tea"]), [])
    with pytest.raises(TypeError, match="Counter"):
        session.swap("cart", None, Counter())
    assert not session.swap("cart", ["tea"], [])
    assert not session.swap("cart", None, [])
    assert session == {"cart": ["tea"]}


def test_what_cannot_be_stored_is_refused_before(world: World) -> None:
    cookie = world.store(step=1)
    session = world.open([cookie])
    with pytest.raises(UnserializableValue, match="step"):
        session.swap("step", 1, object())
    with pytest.raises(SessionTooLarge, match="step"):
        session.swap("step", 1, bytes(2**20))
    with pytest.raises(ValueError, match="zero"):
        session.swap("\x00principal", None, "eve")
    session["thing"] = object()
    with pytest.raises(UnserializableValue, match="thing"):
        session.swap("step", 1, 2)
    assert world.open([cookie]) == {"step": 1}


def test_a_session_that_has_ended_takes_nothing(world: World) -> None:
    cookie = world.store(step=1)
    session, logout = world.open([cookie]), world.open([cookie])
    logout.invalidate()
    world.commit(logout)
    assert not session.swap("step", 1, 2)
    assert dict(session) == {}
    assert not session.swap("step", None, 2)
    assert world.open([cookie]).new


def test_a_new_session_is_stored_with_all_that_is_in_it(world: World) -> None:
    session = world.open([])
    session["a"] = 1
    assert not session.swap("step", 1, 2)
    assert session.sid is None
    assert session.swap("step", None, 2)
    cookie = world.commit(session).set_cookie
    assert cookie is not None
    assert world.open([cookie.partition(";")[0].partition("=")[2]]) == {"a": 1, "step": 2}


def test_where_no_cookie_can_be_set_any_more_nothing_is_swapped(world: World) -> None:
    session = world.open([])
    world.commit(session)
    assert not session.swap("step", None, 1)


def test_without_space_nothing_is_swapped(world: World) -> None:
    cookie = world.store(step=1)
    session = world.open([cookie])
    world.replica.full = True
    assert not session.swap("step", 1, 2)
    world.replica.full = False
    assert session.swap("step", 1, 2)


def test_peers_are_waited_for_as_ack_asks() -> None:
    world = World(distributable=True, ack="all", ack_failure="error")
    cookie = world.store(step=1)
    before = list(world.cluster.confirmed)
    assert world.open([cookie]).swap("step", 1, 2)
    assert len(world.cluster.confirmed) == len(before) + 1
    assert not world.open([cookie]).swap("step", 1, 3)
    assert len(world.cluster.confirmed) == len(before) + 1
    world.cluster.confirms = False
    with pytest.raises(ReplicationFailed):
        world.open([cookie]).swap("step", 2, 3)
    assert world.open([cookie])["step"] == 3


def test_a_local_attribute_waits_for_nobody() -> None:
    world = World(local_attributes=("step",))
    cookie = world.store(step=1, a=1)
    before = list(world.cluster.confirmed)
    session = world.open([cookie])
    assert session.swap("step", 1, 2)
    assert not session.swap("step", 1, 3)
    assert world.open([cookie]) == {"step": 2, "a": 1}
    assert world.cluster.confirmed == before


def test_it_goes_along_to_a_new_id(world: World) -> None:
    session = world.open([world.store(step=1, a=1)])
    session.rotate()
    assert session.swap("step", 1, 2)
    cookie = world.commit(session).set_cookie
    assert cookie is not None
    assert world.open([cookie.partition(";")[0].partition("=")[2]]) == {"step": 2, "a": 1}


def test_the_end_of_the_request_still_records_the_access(world: World) -> None:
    cookie = world.store(step=1)
    world.now_ms += 20 * 60_000
    session = world.open([cookie])
    assert session.swap("step", 1, 2)
    world.commit(session)
    world.now_ms += 20 * 60_000
    assert world.open([cookie])["step"] == 2


async def test_callbacks_are_told_and_the_loop_is_not_blocked() -> None:
    world = Users()
    told: list[Any] = []
    world.manager.events.on("changed", told.append)
    cookie = world.store(step=1)
    session, late = world.open(cookie), world.open(cookie)
    answers = await asyncio.gather(session.aswap("step", 1, 2), late.aswap("step", 1, 3))
    assert answers == [True, False]
    assert [event.names for event in told] == [("step",)]
    assert late["step"] == 2


async def test_a_new_session_without_blocking_the_loop(world: World) -> None:
    session = world.open([])
    assert not await session.aswap("step", 1, 2)
    assert await session.aswap("step", None, 2)
    assert session.sid is not None


def test_a_session_that_left_for_the_store_is_asked_for_again() -> None:
    world = World(distributable=True, store="valkey://127.0.0.1/0", near_cache_idle_s=60.0)
    cookie = world.store(step=1)
    session = world.open([cookie])
    (key, state), = world.replica.states.items()
    world.cluster.elsewhere[key] = state
    del world.replica.states[key]
    assert session.swap("step", 1, 2)
    assert world.cluster.fetched == [key]


def test_a_lock_is_kept_while_the_clock_is_behind_what_it_has_dated() -> None:
    """It was set back; times of writes go on from where they were."""
    world = Users()
    cookie = world.store(a=1)
    world.now_ms -= 3_600_000
    first, second = world.open(cookie), world.open(cookie)
    assert first.swap("lock", None, "first", expires_in=10)
    assert not second.swap("lock", None, "second", expires_in=10)
    world.now_ms += 10_000
    assert second.swap("lock", None, "second", expires_in=10)


def test_while_the_store_is_away_the_copy_of_the_request_counts() -> None:
    world = World(distributable=True, store="valkey://127.0.0.1/0", near_cache_idle_s=60.0)
    cookie = world.store(step=1)
    session = world.open([cookie])
    world.replica.states.clear()
    assert session.swap("step", 1, 2)
    assert world.open([cookie])["step"] == 2
