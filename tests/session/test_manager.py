"""One request after another against one node: what is stored, what the client is told."""

from typing import Any

import pytest

from clustersession.core.state import ENDED_ROTATED, Change
from clustersession.session.lifetimes import ROTATION_GRACE_MS
from clustersession.session.outcome import VARY, Outcome
from clustersession.session.session import Session
from clustersession.session.token import IdSigner
from clustersession.session.visit import visit_of
from tests.session.fakes import World, cookie_of


@pytest.fixture
def world() -> World:
    return World()


def rotated(world: World) -> tuple[str, str]:
    """A session that a login has moved: its cookies from before and after."""
    old = world.store(cart=["tea"])
    session = world.open([old])
    session["user"] = "ann"
    session.rotate()
    header = world.commit(session).set_cookie
    assert header is not None
    return old, cookie_of(header)


def test_a_thousand_visitors_who_store_nothing_leave_nothing(world: World) -> None:
    for _ in range(1000):
        session = world.open([])
        assert session.get("user") is None
        outcome = world.commit(session)
        assert outcome.set_cookie is None
        assert outcome.vary
    assert world.replica.states == {}
    assert world.replica.commits == []


def test_an_untouched_session_says_nothing(world: World) -> None:
    session = world.open([world.store(a=1)])
    outcome = world.commit(session)
    assert outcome == Outcome()


def test_a_hundred_reads_write_nothing_and_set_no_cookie(world: World) -> None:
    cookie = world.store(a=[1], b="x")
    before = len(world.replica.commits)
    for _ in range(100):
        session = world.open([cookie])
        assert session["a"] == [1]
        assert world.commit(session).set_cookie is None
    assert len(world.replica.commits) == before


def test_forged_and_malformed_ids_never_reach_the_replica(world: World) -> None:
    cookie = world.store(a=1)
    foreign = IdSigner([b"some other secret 123"]).mint(b"0" * 16)
    flipped = cookie[:-3] + ("A" if cookie[-3] != "A" else "B") + ".a"
    world.replica.gets.clear()
    for value in (foreign, foreign + ".a", flipped, "x", "", ".a", "x" * 39 + ".a", cookie[:38]):
        session = world.open([value], value)
        assert session == {}
        assert not visit_of(session).missing
        session["x"] = 1
        outcome = world.commit(session)
        assert outcome.set_cookie is not None
        assert value == "" or cookie_of(outcome.set_cookie) != value
    assert foreign[:23] not in world.replica.gets
    # Its own new ids are looked at, before an answer names them.
    assert set(world.replica.gets) <= set(world.replica.states)
    assert world.cluster.fetched == []


def test_the_first_known_cookie_counts(world: World) -> None:
    known = world.store(a=1)
    other = world.store(b=2)
    unknown = world.signer.mint(b"\xff" * 16) + ".a"
    assert world.open(["junk", unknown, known, other]) == {"a": 1}
    assert world.open([], known) == {"a": 1}
    assert world.open([unknown], known) == {"a": 1}


def test_an_ended_id_starts_an_empty_session_with_another_id(world: World) -> None:
    cookie = world.store(user="ann")
    session = world.open([cookie])
    session.invalidate()
    world.commit(session)
    session = world.open([cookie])
    assert session == {}
    assert session.new
    assert not visit_of(session).missing
    assert world.commit(session).set_cookie is None
    session = world.open([cookie])
    session["a"] = 1
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    assert cookie_of(outcome.set_cookie) != cookie


def test_failover_rewrites_once(world: World) -> None:
    cookie = world.store(a=1)
    dead = cookie[:39] + ".gone"
    outcome = world.commit(world.open([dead]))
    assert outcome.set_cookie is not None
    assert cookie_of(outcome.set_cookie) == cookie
    assert outcome.vary
    assert world.manager.counters.failovers == 1
    assert world.commit(world.open([cookie])).set_cookie is None


def test_a_strayed_request_is_served_and_counted(world: World) -> None:
    cookie = world.store(a=1)
    world.cluster.serving = frozenset("ab")
    session = world.open([cookie[:39] + ".b"])
    assert session == {"a": 1}
    session["a"] = 2
    assert world.commit(session).set_cookie is None
    assert world.manager.counters.strayed == 1


def test_a_draining_node_gives_sessions_away(world: World) -> None:
    cookie = world.store(a=1)
    world.cluster.serving = frozenset("b")
    outcome = world.commit(world.open([cookie]))
    assert outcome.set_cookie is not None
    assert cookie_of(outcome.set_cookie) == cookie[:39] + ".b"
    assert world.store(new=1).endswith(".b")


def test_a_bare_id_gets_our_route(world: World) -> None:
    cookie = world.store(a=1)
    outcome = world.commit(world.open([cookie[:39]]))
    assert outcome.set_cookie is not None
    assert cookie_of(outcome.set_cookie) == cookie


WRITES = {
    "set": lambda s: s.update(late=1), "permanent": lambda s: setattr(s, "permanent", True),
    "idle": lambda s: setattr(s, "idle_timeout", 5.0), "end": lambda s: s.invalidate(),
    "end and set": lambda s: (s.invalidate(), s.update(late=1)), "nothing": lambda s: None,
    "read": dict, "no user": lambda s: setattr(s, "principal", None), "saved": lambda s: s.save(),
}  # fmt: skip


@pytest.mark.parametrize("how", WRITES)
@pytest.mark.parametrize("options", [
    {}, {"header_name": "X-Id"}, {"consistency": "causal"}, {"cookie_max_age_s": 600},
    {"local_attributes": ("late",)}, {"rewrite": "always"}, {"ack": "none"},
], ids=str)  # fmt: skip
def test_an_outdated_id_changes_nothing(how: str, options: dict[str, Any]) -> None:
    world = World(**options)
    old, login = rotated(world)
    world.now_ms += ROTATION_GRACE_MS - 1
    for cookies, header, url in (([old], None, None), ([], old, None), ([], None, old)):
        stored, commits = dict(world.replica.states), len(world.replica.commits)
        session = world.open(cookies, header, (), url)
        assert visit_of(session).outdated
        assert session == {}
        WRITES[how](session)
        assert world.commit(session) == VARY
        session["later"] = 1
        world.save(session)
        assert not visit_of(session).unsaved
        assert not session.reload()
        assert (world.replica.states, len(world.replica.commits)) == (stored, commits)
    assert world.open([old, login], old)["user"] == "ann"
    assert world.open([old], login)["user"] == "ann"


def test_a_lost_write_of_an_outdated_request_is_counted(world: World) -> None:
    old, _ = rotated(world)
    world.commit(world.open([old]))
    assert world.manager.counters.lost_writes == 0
    session = world.open([old])
    session["late"] = 1
    world.commit(session)
    assert world.manager.counters.lost_writes == 1


@pytest.mark.parametrize("ahead_ms", [ROTATION_GRACE_MS, -ROTATION_GRACE_MS])
def test_after_the_grace_the_id_is_as_any_that_has_ended(world: World, ahead_ms: int) -> None:
    old, _ = rotated(world)
    world.now_ms += ahead_ms
    assert visit_of(world.open([old])).outdated
    world.now_ms += 1 if ahead_ms > 0 else -1
    session = world.open([old])
    session["a"] = 1
    assert world.commit(session).set_cookie is not None


def log_in_by_rotation(session: Session) -> None:
    session["early"] = 1
    session.save()
    session.rotate()


@pytest.mark.parametrize("log_in", [
    log_in_by_rotation, lambda s: setattr(s, "principal", "ann"),
    lambda s: (s.rotate(), s.invalidate(), s.update(user="ann")),
])
def test_a_login_with_an_outdated_id_begins_a_session(world: World, log_in: Any) -> None:
    old, login = rotated(world)
    session = world.open([old])
    log_in(session)
    session["b"] = 1
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    again = cookie_of(outcome.set_cookie)
    assert again not in (old, login)
    assert world.open([again])["b"] == 1
    assert "cart" not in world.open([again])


READ_OR_WRITE = {
    "read": dict, "set": lambda s: s.update(late=1), "inside": lambda s: s["cart"].append(1),
    "rotate": lambda s: s.rotate(), "permanent": lambda s: setattr(s, "permanent", True),
    "idle": lambda s: setattr(s, "idle_timeout", 5.0), "nothing": lambda s: None,
    "principal": lambda s: setattr(s, "principal", "bob"),
    "touch": lambda s: setattr(s, "idle_timeout", s.idle_timeout),
}  # fmt: skip


@pytest.mark.parametrize("how", READ_OR_WRITE)
@pytest.mark.parametrize("route", ["gone", "a"])
@pytest.mark.parametrize("when", ["before the commit", "after a save", "before the answer"])
@pytest.mark.parametrize("options", [
    {}, {"header_name": "X-Id"}, {"consistency": "causal"}, {"cookie_max_age_s": 600},
    {"legacy_cookie_name": "old"},
], ids=str)  # fmt: skip
def test_no_answer_names_an_id_that_ended_meanwhile(
    how: str, route: str, when: str, options: dict[str, Any]
) -> None:
    world = World(**options)
    cookie = world.store(cart=[])
    # Its node is gone, its lifetime is to be renewed, its writes are to be named: reasons for one.
    session = world.open([cookie.replace(".a", f".{route}")])
    world.now_ms += 290_000
    if when == "after a save":
        world.save(session)
    READ_OR_WRITE[how](session)
    if when == "before the answer":
        world.save(session)
    named = (session.sid or "")[:23]
    world.replica.commit([Change(named, world.now_ms, end=ENDED_ROTATED)], world.now_ms)
    if when != "before the answer":
        world.save(session)
    outcome = world.answer(session)
    assert outcome._replace(vary=True) == VARY
    assert not world.manager.route_is_due(visit_of(session))
