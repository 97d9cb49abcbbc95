"""Attributes whose time is limited: gone in every read when it is over, and gone for good."""

import asyncio
import copy
import json
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from clustersession import Counter, MergingList
from clustersession.core.expiring_values import until_of
from clustersession.core.placement import owner
from clustersession.core.reclaiming import NEVER_MS, next_expiry_ms
from clustersession.session.session import Session
from clustersession.session.visit import visit_of
from clustersession.session.watch import SessionChange
from tests.session.fakes import Users, World

ABSENT = object()


def stored(world: World, *, expires_in: Any = 300, **values: Any) -> str:
    """A session with an ``otp`` that expires; its cookie."""
    cookie = world.store(**values or {"b": 1})
    session = world.open([cookie])
    session.set("otp", "123456", expires_in=expires_in)
    world.commit(session)
    return cookie


def after(world: World, cookie: str, seconds: float) -> Session:
    world.now_ms += round(seconds * 1000)
    return world.open([cookie])


def state_of(world: World) -> Any:
    (state,) = world.replica.states.values()
    return state


def test_it_is_there_until_then_and_not_after(world: World) -> None:
    cookie = stored(world, a=1)
    assert after(world, cookie, 299)["otp"] == "123456"
    assert after(world, cookie, 0).expires_in("otp") == 1
    assert after(world, cookie, 1) == {"a": 1}
    assert after(world, cookie, 0).expires_in("otp") == 0


WAYS: dict[str, Callable[[Session], object]] = {
    "[]": lambda s: [name for name in ("a", "otp") if _has(s, name)],
    "get": lambda s: [name for name in ("a", "otp") if s.get(name) is not None],
    "in": lambda s: [name for name in ("a", "otp") if name in s],
    "iter": list, "keys": lambda s: list(s.keys()), "items": lambda s: [n for n, _ in s.items()],
    "len": lambda s: ["a", "otp"][: len(s)], "json": lambda s: list(json.loads(json.dumps(s))),
    "stars": lambda s: list({**s}), "dict": lambda s: list(dict(s)), "copy": lambda s: [*s.copy()],
    "deepcopy": lambda s: [*copy.deepcopy(s)], "or": lambda s: list(s | {}),
    "values": lambda s: ["a", "otp"][: len(list(s.values()))],
    "pop": lambda s: ["a"] if s.pop("otp", ABSENT) is ABSENT else ["a", "otp"],
    "==": lambda s: ["a"] if s == {"a": 1} else ["a", "otp"],
    "repr": lambda s: ["a", "otp"] if "otp" in repr(s) else ["a"],
}


def _has(session: Session, name: str) -> bool:
    try:
        session[name]
    except KeyError:
        return False
    return True


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("begun", ["nothing", "read", "loaded", "set here"])
def test_a_handler_that_lasts_longer_sees_it_go(world: World, way: str, begun: str) -> None:
    if begun == "set here":
        session = world.open([world.store(a=1)])
        assert len(session) == 1
        session.set("otp", "123456", expires_in=300)
        world.save(session)
    else:
        session = world.open([stored(world, a=1)])
        assert begun != "read" or session["otp"]
        assert begun != "loaded" or list(session)
    assert WAYS[way](session) == ["a", "otp"] or way == "pop"
    world.now_ms += 300_000
    assert WAYS[way](session) == ["a"]
    assert not visit_of(session).unsaved


@pytest.mark.parametrize("kind", ["request", "reload"])
def test_a_clock_that_is_set_back_brings_nothing_back(world: World, kind: str) -> None:
    """Nor in another worker: the replica has forgotten it before anybody was told."""
    cookie = stored(world, a=1)
    long_lived = world.open([cookie])
    world.now_ms += 300_000
    if kind == "request":
        assert "otp" not in world.open([cookie])
    else:
        assert long_lived.reload()
    world.now_ms -= 200_000
    assert world.open([cookie]) == {"a": 1}
    assert state_of(world).registers["otp"].value is None


def test_without_space_it_is_gone_all_the_same(world: World) -> None:
    cookie = stored(world, a=1)
    world.replica.full = True
    assert after(world, cookie, 300) == {"a": 1}


def test_another_value_ends_the_limit_and_a_change_inside_does_not(world: World) -> None:
    cookie = world.store(a=1)
    session = world.open([cookie])
    for name in ("list", "same", "other", "updated", "again"):
        session.set(name, [1], expires_in=60)
    world.commit(session)
    session = world.open([cookie])
    session["list"].append(2)
    session["same"] = session["same"]
    session["other"] = 3
    session.update(updated=4)
    session.set("again", [1], expires_in=120)
    world.commit(session)
    assert after(world, cookie, 60) == {
        "a": 1, "same": [1], "other": 3, "updated": 4, "again": [1],
    }
    assert after(world, cookie, 60) == {"a": 1, "same": [1], "other": 3, "updated": 4}


def test_the_same_text_set_anew_stays_as_long_as_the_session(world: World) -> None:
    cookie = stored(world)
    session = world.open([cookie])
    session["otp"] = session["otp"]
    assert session.expires_in("otp") is None
    world.commit(session)
    assert after(world, cookie, 600)["otp"] == "123456"


def test_who_only_reads_it_writes_nothing(world: World) -> None:
    cookie = stored(world, cart=["tea"])
    commits = len(world.replica.commits)
    session = world.open([cookie])
    assert (session["otp"], session["cart"]) == ("123456", ["tea"])
    assert json.dumps(session)
    world.commit(session)
    assert len(world.replica.commits) == commits


def test_deleting_it_is_a_deletion(world: World) -> None:
    cookie = stored(world, a=1)
    session = world.open([cookie])
    del session["otp"]
    world.commit(session)
    assert world.open([cookie]) == {"a": 1}
    assert next_expiry_ms(state_of(world)) == NEVER_MS


def test_it_goes_along_to_a_new_id_with_its_time(world: World) -> None:
    session = world.open([stored(world, a=1)])
    world.now_ms += 100_000
    session.rotate()
    header = world.commit(session).set_cookie
    assert header is not None
    cookie = header.partition(";")[0].partition("=")[2]
    assert after(world, cookie, 100).expires_in("otp") == 100
    assert after(world, cookie, 100) == {"a": 1}


def test_what_is_over_does_not_move_to_a_new_id(world: World) -> None:
    session = world.open([stored(world, a=1)])
    world.now_ms += 300_000
    session.rotate()
    world.commit(session)
    state = visit_of(session).state
    assert state is not None
    assert "otp" not in state.registers


def test_what_was_there_before_does_not_come_back(world: World) -> None:
    cookie = world.store(a=1, otp="old")
    session = world.open([cookie])
    session.set("otp", "new", expires_in=1)
    world.now_ms += 2000
    world.commit(session)
    assert world.open([cookie]) == {"a": 1}


def test_a_value_set_after_it_has_gone_is_there(world: World) -> None:
    cookie = stored(world)
    session = after(world, cookie, 301)
    session["otp"] = "again"
    world.commit(session)
    assert after(world, cookie, 600) == {"b": 1, "otp": "again"}


def test_others_setting_and_limiting_is_taken_over(world: World) -> None:
    cookie = world.store(a=1, otp="plain", mine=1)
    session = world.open([cookie])
    assert list(session) == ["a", "otp", "mine"]
    other = world.open([cookie])
    other.set("otp", "short", expires_in=60)
    other.set("mine", "theirs", expires_in=60)
    world.commit(other)
    session["mine"] = "own"
    assert session.reload()
    assert session.expires_in("otp") == 60
    assert session.expires_in("mine") is None
    world.now_ms += 60_000
    assert session == {"a": 1, "mine": "own"}


def test_a_local_attribute_expires_too() -> None:
    world = World(local_attributes=("otp",))
    cookie = stored(world, a=1)
    assert after(world, cookie, 299)["otp"] == "123456"
    assert after(world, cookie, 1) == {"a": 1}


def test_swapped_for_a_value_that_expires(world: World) -> None:
    cookie = stored(world)
    session = world.open([cookie])
    assert session.swap("otp", "123456", "654321", expires_in=10)
    assert session.expires_in("otp") == 10
    world.now_ms += 10_000
    assert not session.swap("otp", "654321", "too late")
    assert session.swap("otp", None, "new", expires_in=timedelta(minutes=1))
    assert after(world, cookie, 59)["otp"] == "new"
    fresh = world.open([])
    assert fresh.swap("lock", None, 1, expires_in=5)
    assert fresh.expires_in("lock") == 5


@pytest.mark.parametrize(("given", "seconds"), [
    (0.5, 0.5), (timedelta(days=1), 86_400), (1e-9, 0.001), (10**30, 100 * 366 * 86_400),
    (math.inf, 100 * 366 * 86_400), (timedelta.max, 100 * 366 * 86_400),
])
def test_how_the_time_is_given(world: World, given: Any, seconds: float) -> None:
    session = world.open([world.store(a=1)])
    session.set("otp", 1, expires_in=given)
    assert session.expires_in("otp") == seconds


@pytest.mark.parametrize(("given", "error", "says"), [
    (0, ValueError, "above 0"), (-1, ValueError, "above 0"), (math.nan, ValueError, "above 0"),
    (timedelta(), ValueError, "above 0"), (True, TypeError, "bool"), ("300", TypeError, "str"),
])
def test_what_is_no_time(world: World, given: Any, error: type[Exception], says: str) -> None:
    session = world.open([world.store(otp=1)])
    with pytest.raises(error, match=says):
        session.set("otp", 2, expires_in=given)
    assert session == {"otp": 1}


@pytest.mark.parametrize("value", [MergingList([1]), Counter()])
def test_what_merges_cannot_expire(world: World, value: object) -> None:
    session = world.open([world.store(a=1)])
    with pytest.raises(TypeError, match="cannot expire"):
        session.set("cart", value, expires_in=60)
    session.set("cart", value)
    assert session["cart"] == value


def test_without_a_limit_set_is_an_assignment(world: World) -> None:
    cookie = stored(world)
    session = world.open([cookie])
    session.set("otp", "123456")
    assert session.expires_in("otp") is None
    world.commit(session)
    assert until_of(state_of(world).registers["otp"].value) is None
    with pytest.raises(ValueError, match="zero"):
        session.set("\x00a", 1, expires_in=1)


def test_one_node_tells_callbacks_of_it() -> None:
    told = {route: told_at(route) for route in ("a", "b")}
    assert sorted(map(len, told.values())) == [0, 1]
    (event,) = told["a"] + told["b"]
    assert (event.kind, event.names, event.data) == ("changed", ("otp",), {"a": 1})


def told_at(route: str) -> list[Any]:
    """What a node's callbacks are told, of a session that two nodes have."""
    world, told = World(), []
    world.cluster.serving = frozenset("ab")
    world.manager.context.cluster._cluster.route = route  # type: ignore[attr-defined]
    cookie = stored(world, a=1)
    world.manager.events.on("changed", told.append)
    for _ in range(2):
        world.commit(after(world, cookie, 300))
    assert (owner(cookie[:23], "ab") == route) is bool(told)
    return told


async def test_watching_tells_of_it_when_it_happens() -> None:
    world = Users()
    cookie = world.store(a=1)
    session = world.open(cookie)
    session.set("otp", 1, expires_in=0.2)
    session.set("code", 1, expires_in=600)
    await session.asave()
    changes = session.watch()
    waiting = asyncio.create_task(anext(changes))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    world.now_ms += 200
    assert await asyncio.wait_for(waiting, 10) == SessionChange(("otp",), {})
    world.now_ms += 600_000 - 200
    # What this very object has noticed itself is told, too.
    assert "code" not in session
    assert len(session) == 1
    assert await asyncio.wait_for(anext(changes), 10) == SessionChange(("code",), {})
