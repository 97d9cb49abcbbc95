"""One request after another against one node: what is stored, what the client is told."""

import pytest

from clustersession.session.outcome import Outcome
from clustersession.session.token import IdSigner
from clustersession.session.visit import visit_of
from tests.session.fakes import World, cookie_of


@pytest.fixture
def world() -> World:
    return World()


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
    assert world.replica.gets == []
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
