"""A session that is not here is taken from peers."""

from contextlib import ExitStack

import pytest

from clustersession.core.state import ENDED_INVALIDATED, ENDED_ROTATED, Change
from clustersession.session.causal import WAITING_MAX
from clustersession.session.fetching import newest
from clustersession.session.visit import visit_of
from tests.session.fakes import World

MINUTE_MS = 60_000


@pytest.fixture
def world() -> World:
    return World()


def test_what_looks_expired_is_asked_of_peers_until_it_cannot_live_anywhere(world: World) -> None:
    cookie = world.store(a=1)
    world.now_ms += 40 * MINUTE_MS
    assert visit_of(world.open([cookie])).missing
    world.now_ms += 8 * 24 * 60 * MINUTE_MS
    assert not visit_of(world.open([cookie])).missing


async def test_a_missing_session_is_fetched(world: World) -> None:
    cookie = world.store(a=1)
    world.cluster.elsewhere[cookie[:23]] = world.replica.states.pop(cookie[:23])
    session = world.open([cookie])
    assert visit_of(session).missing
    assert session.new
    await world.fetch_async(session)
    assert not visit_of(session).missing
    assert not session.new
    assert session == {"a": 1}
    world.replica.states.clear()
    session = world.open([cookie])
    world.fetch(session)
    assert session == {"a": 1}
    assert world.manager.counters.fetched == 2


def test_a_session_nobody_has_is_never_adopted(world: World) -> None:
    identifier = world.signer.mint(b"\xfe" * 16)
    session = world.open([identifier + ".a"])
    world.fetch(session)
    assert world.cluster.fetched == [identifier[:23]]
    session["a"] = 1
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    assert identifier not in outcome.set_cookie


async def test_an_id_that_turns_out_to_be_rotated_is_outdated(world: World) -> None:
    for consistency in ("local", "causal"):
        world = World(consistency=consistency) if consistency == "causal" else world
        cookie = world.store(a=1)
        key = cookie[:23]
        before = world.replica.states[key]
        world.replica.commit([Change(key, world.now_ms, end=ENDED_ROTATED)], world.now_ms)
        world.cluster.elsewhere[key] = world.replica.states.pop(key)
        seen = world.manager._seen_tokens.encode(key, world.cluster.elsewhere[key])
        for is_async in (False, True):
            world.replica.states.pop(key, None)
            if consistency == "causal":
                # Here is an older copy.
                world.replica.states[key] = before
            session = world.open([cookie], None, [seen])
            assert visit_of(session).missing
            await world.fetch_async(session) if is_async else world.fetch(session)
            session["late"] = 1
            assert world.commit(session).set_cookie is None
            assert visit_of(session).outdated


def test_a_session_that_is_fetched_counts_before_an_outdated_id(world: World) -> None:
    old, there = world.store(a=1), world.store(b=2)
    world.replica.commit([Change(old[:23], world.now_ms, end=ENDED_ROTATED)], world.now_ms)
    world.cluster.elsewhere[there[:23]] = world.replica.states.pop(there[:23])
    session = world.open([old, there])
    world.fetch(session)
    assert session == {"b": 2}
    assert not visit_of(session).outdated


def end_elsewhere(world: World, cookie: str) -> None:
    """A peer knows of a logout that this node has not heard of."""
    key = cookie[:23]
    state = world.replica.states[key]
    world.manager.write_unconfirmed([Change(key, world.now_ms, end=ENDED_INVALIDATED)])
    world.cluster.elsewhere[key] = world.replica.states[key]
    world.replica.states[key] = state


async def test_a_session_that_is_here_is_asked_for_until_the_peers_were_met(world: World) -> None:
    ended, live = world.store(a=1), world.store(a=2)
    end_elsewhere(world, ended)
    world.cluster.contact.apart = True
    for cookie in (ended, live):
        session = world.open([cookie])
        assert visit_of(session).missing
        await world.fetch_async(session)
        assert session == ({} if cookie == ended else {"a": 2})
        assert visit_of(session).client == (cookie[: cookie.index(".")], "a")
    world.cluster.contact.apart = False
    assert world.open([live]) == {"a": 2}
    assert world.cluster.fetched == [ended[:23], live[:23]]


async def test_where_too_many_wait_for_writes_an_end_is_asked_for_all_the_same() -> None:
    world = World(consistency="causal")
    causal = world.manager.context.causal
    assert causal is not None
    for is_async in (False, True):
        cookie = world.store(a=1)
        key = cookie[:23]
        seen = world.manager._seen_tokens.encode(key, world.replica.states[key])
        end_elsewhere(world, cookie)
        world.cluster.contact.apart = True
        with ExitStack() as waiting:
            for _ in range(WAITING_MAX):
                waiting.enter_context(causal.wait("other", {}))
            session = world.open([cookie], None, [seen])
            await world.fetch_async(session) if is_async else world.fetch(session)
        assert session == {}
        world.cluster.contact.apart = False


def test_of_several_ids_the_first_that_has_not_ended_elsewhere_counts(world: World) -> None:
    ended, live = world.store(a=1), world.store(a=2)
    unknown = world.signer.mint(b"\xfe" * 16) + ".a"
    end_elsewhere(world, ended)
    world.cluster.contact.apart = True
    session = world.open([unknown, ended, live])
    world.fetch(session)
    assert session == {"a": 2}


def test_reloading_asks_peers_until_they_were_met(world: World) -> None:
    cookie = world.store(a=1)
    session = world.open([cookie])
    end_elsewhere(world, cookie)
    world.cluster.contact.apart = True
    assert newest(world.manager.context, cookie[:23]).ended  # type: ignore[union-attr]
    assert session == {"a": 1}
    world.cluster.elsewhere.clear()
    again = world.store(a=2)
    assert newest(world.manager.context, again[:23]) is not None, "nobody answered"
