"""A long-lived handler takes over what others wrote, without losing what it has not saved."""

from typing import Any

import pytest

from clustersession.core.errors import UnserializableValue
from clustersession.session.session import Session
from clustersession.session.visit import visit_of
from tests.session.fakes import World


@pytest.fixture
def world() -> World:
    return World()


def opened(world: World, **values: Any) -> tuple[Session, str]:
    cookie = world.store(**values)
    return world.open([cookie]), cookie


def elsewhere(world: World, cookie: str, **values: Any) -> None:
    session = world.open([cookie])
    for name, value in values.items():
        if value is None:
            del session[name]
        else:
            session[name] = value
    world.commit(session)


@pytest.mark.parametrize("touched", [False, True])
def test_what_others_wrote_is_seen(world: World, touched: bool) -> None:
    session, cookie = opened(world, a=1, b=[1], gone=1)
    if touched:
        assert session["gone"] == 1
    elsewhere(world, cookie, a=2, c={"x": 1}, gone=None)
    assert session.reload()
    assert session == {"a": 2, "b": [1], "c": {"x": 1}}
    assert not visit_of(session).unsaved
    session["c"]["x"] = 2
    world.save(session)
    assert world.open([cookie])["c"] == {"x": 2}


def test_own_unsaved_changes_stay_attribute_by_attribute(world: World) -> None:
    session, cookie = opened(world, mine=1, cart=["a"], removed=1, both=1, theirs=1)
    session["mine"] = "own"
    session["cart"].append("own")
    del session["removed"]
    session["both"] = "own"
    elsewhere(world, cookie, mine="other", cart=["other"], removed="other", both=None, theirs=2)
    assert session.reload()
    expected = {"mine": "own", "cart": ["a", "own"], "both": "own", "theirs": 2}
    assert session == expected
    world.save(session)
    assert world.open([cookie]) == expected


def test_an_own_change_in_place_of_what_others_removed_is_kept(world: World) -> None:
    session, cookie = opened(world, cart=["a"])
    session["cart"].append("own")
    session.modified = False
    elsewhere(world, cookie, cart=None)
    assert session.reload()
    world.save(session)
    assert world.open([cookie]) == {"cart": ["a", "own"]}


def test_the_same_object_stays_when_nothing_came(world: World) -> None:
    session, cookie = opened(world, cart=["a"])
    cart = session["cart"]
    elsewhere(world, cookie, other=1)
    assert session.reload()
    assert session["cart"] is cart


def test_a_session_that_ended_is_empty_and_stays_so(world: World) -> None:
    session, cookie = opened(world, a=1)
    session["late"] = 1
    other = world.open([cookie])
    other.invalidate()
    world.commit(other)
    assert not session.reload()
    assert session == {}
    session["later"] = 1
    world.save(session)
    assert not session.reload()
    assert world.open([cookie]) == {}


def test_a_new_id_elsewhere_ends_this_one(world: World) -> None:
    session, cookie = opened(world, a=1)
    other = world.open([cookie])
    other.rotate()
    world.commit(other)
    assert not session.reload()


async def test_peers_are_asked_for_what_is_not_here(world: World) -> None:
    session, cookie = opened(world, a=1)
    elsewhere(world, cookie, a=2)
    assert visit_of(session).key is not None
    world.cluster.elsewhere[visit_of(session).key] = world.replica.states.pop(visit_of(session).key)
    assert await session.areload()
    assert session["a"] == 2
    del world.replica.states[visit_of(session).key]
    world.cluster.elsewhere.clear()
    assert not await session.areload()


def test_a_session_without_a_store_has_nothing_to_reload(world: World) -> None:
    session = world.open([])
    session["a"] = 1
    assert session.reload()
    assert session == {"a": 1}


def test_what_cannot_be_stored_is_told(world: World) -> None:
    session, cookie = opened(world, a=1)
    session["bad"] = object()
    elsewhere(world, cookie, a=2)
    with pytest.raises(UnserializableValue, match="bad"):
        session.reload()


def test_what_others_wrote_before_an_access_was_recorded_is_seen(world: World) -> None:
    """The access is a commit: it brings a newer copy along, of which nothing was taken over."""
    session, cookie = opened(world, a=1)
    assert session["a"] == 1
    elsewhere(world, cookie, a=2)
    world.now_ms += 20 * 60_000
    world.save(session)
    assert session.reload()
    assert session["a"] == 2
