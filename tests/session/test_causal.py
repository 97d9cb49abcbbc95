"""A client that names the writes it has seen: when a node waits for them, and for how long."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from clustersession.core.state import SessionState
from clustersession.session.causal import WAIT_AGAIN_MS, WAITING_MAX
from clustersession.session.seen import SeenTokens
from clustersession.session.session import Session
from clustersession.session.visit import visit_of
from tests.session.fakes import World, cookie_of

Stored = tuple[str, str]
PEER = b"peerpeer"


def make_world(**options: Any) -> World:
    return World(**{"consistency": "causal", **options})


def signed(world: World, key: str, versions: Mapping[bytes, int]) -> str:
    """A token of this session that names writes which nobody has any more."""
    tokens = SeenTokens(world.signer)
    return tokens.encode(key, SessionState(0, 0, 0, {}, versions))


def named(world: World, key: str, token: str) -> Mapping[bytes, int]:
    return SeenTokens(world.signer).decode(key, [token])


@pytest.fixture
def world() -> World:
    return make_world()


def store(world: World, **values: Any) -> Stored:
    session = world.open([])
    session.update(values)
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    assert outcome.set_seen_cookie is not None
    return cookie_of(outcome.set_cookie), cookie_of(outcome.set_seen_cookie)


def request(world: World, stored: Stored) -> Session:
    session = world.open([stored[0]], None, [stored[1]])
    if visit_of(session).missing:
        world.fetch(session)
    return session


def fall_behind(world: World, stored: Stored, **values: Any) -> tuple[SessionState, str]:
    """A later write, which a peer has and this node has not: its copy and the client's token."""
    key = stored[0][:23]
    before = world.replica.states[key]
    session = request(world, stored)
    session.update(values)
    outcome = world.commit(session)
    assert outcome.set_seen_cookie is not None
    after = world.replica.states[key]
    world.replica.states[key] = before
    return after, cookie_of(outcome.set_seen_cookie)


def test_the_cookie_names_the_copy_that_a_change_left_with_the_flags_of_the_other() -> None:
    world = make_world(cookie_secure=True, cookie_path="/shop", cookie_max_age_s=60)
    session = world.open([])
    session["a"] = 1
    outcome = world.commit(session)
    assert outcome.vary
    assert outcome.set_cookie is not None
    assert outcome.set_seen_cookie is not None
    name, _, rest = outcome.set_seen_cookie.partition("=")
    token, _, flags = rest.partition(";")
    assert name == "CLUSTERSESSION_v"
    assert flags == outcome.set_cookie.partition(";")[2]
    assert visit_of(session).state is not None
    assert named(world, visit_of(session).key or "", token) == visit_of(session).state.versions
    assert token not in outcome.set_cookie


def test_only_a_change_sets_it(world: World) -> None:
    stored = store(world, a=[1])
    for _ in range(3):
        session = request(world, stored)
        assert session["a"] == [1]
        assert world.commit(session).set_seen_cookie is None
    # Nor does a coarse note of the last access, nor a new route.
    world.now_ms += 20 * 60_000
    assert world.commit(request(world, stored)).set_seen_cookie is None
    moved = world.commit(request(world, (stored[0][:39] + ".gone", stored[1])))
    assert moved.set_cookie is not None
    assert moved.set_seen_cookie is None
    session = request(world, stored)
    session["a"].append(2)
    outcome = world.commit(session)
    assert outcome.set_cookie is None
    assert outcome.set_seen_cookie is not None


def test_a_change_saved_early_is_named_by_the_response(world: World) -> None:
    session = request(world, store(world, a=1))
    session["a"] = 2
    session.save()
    outcome = world.commit(session)
    assert outcome.set_seen_cookie is not None
    visit = visit_of(session)
    assert visit.state is not None
    assert cookie_of(outcome.set_seen_cookie) == signed(
        world, visit.key or "", visit.state.versions
    )


def test_both_cookies_go_together(world: World) -> None:
    session = request(world, store(world, a=1))
    session.invalidate()
    outcome = world.commit(session)
    for header in (outcome.set_cookie, outcome.set_seen_cookie):
        assert header is not None
        assert "Max-Age=0" in header


def test_a_rotated_session_begins_a_new_vector(world: World) -> None:
    stored = store(world, a=1)
    session = request(world, stored)
    session.rotate()
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    assert outcome.set_seen_cookie is not None
    new = cookie_of(outcome.set_cookie), cookie_of(outcome.set_seen_cookie)
    assert new[0] != stored[0]
    assert request(world, new) == {"a": 1}
    assert world.cluster.fetched == []


def test_a_copy_that_covers_the_token_asks_nobody(world: World) -> None:
    stored = store(world, a=1)
    fall_behind(world, stored, a=2)
    assert request(world, stored) == {"a": 1}
    assert world.cluster.fetched == []


def test_a_copy_that_lags_is_fetched_before_it_is_served(world: World) -> None:
    stored = store(world, a=1)
    newer, token = fall_behind(world, stored, a=2)
    world.cluster.elsewhere[stored[0][:23]] = newer
    session = world.open([stored[0]], None, [token])
    assert visit_of(session).missing
    world.fetch(session)
    assert not visit_of(session).missing
    assert not session.new
    assert session == {"a": 2}
    assert world.manager.counters.fetched == 1
    assert world.manager.counters.stale_reads == 0
    assert world.commit(session).set_cookie is None


async def test_a_copy_that_lags_is_fetched_without_blocking_the_loop(world: World) -> None:
    stored = store(world, a=1)
    newer, token = fall_behind(world, stored, a=2)
    world.cluster.elsewhere[stored[0][:23]] = newer
    session = world.open([stored[0]], None, [token])
    await world.fetch_async(session)
    assert session == {"a": 2}


def test_the_peers_are_asked_for_the_writes_that_the_client_names(world: World) -> None:
    stored = store(world, a=1)
    newer, token = fall_behind(world, stored, a=2)
    request(world, (stored[0], token))
    assert world.cluster.wanted == [newer.versions]


def test_writes_that_nobody_has_cost_one_question_for_any_tokens_and_never_the_session(
    world: World,
) -> None:
    cookie, _ = store(world, a=1)
    key = cookie[:23]
    for number, seen in enumerate(({PEER: 5}, {PEER: 4}, {world.replica.node: 2**48 - 1}), 1):
        session = request(world, (cookie, signed(world, key, seen)))
        assert session == {"a": 1}
        assert not session.new
        assert world.manager.counters.stale_reads == number
        assert len(world.cluster.fetched) == 1
    # The next change names what is here, and the client waits no more.
    session["a"] = 2
    outcome = world.commit(session)
    assert outcome.set_seen_cookie is not None
    assert request(world, (cookie, cookie_of(outcome.set_seen_cookie))) == {"a": 2}
    assert len(world.cluster.fetched) == 1
    assert world.manager.counters.stale_reads == 3


@pytest.mark.parametrize("passed_ms", [WAIT_AGAIN_MS, -3_600_000])
def test_after_a_pause_it_is_asked_again_whatever_the_clock_did(
    world: World, passed_ms: int
) -> None:
    cookie, _ = store(world, a=1)
    token = signed(world, cookie[:23], {PEER: 5})
    request(world, (cookie, token))
    world.now_ms += WAIT_AGAIN_MS - 1
    request(world, (cookie, token))
    assert len(world.cluster.fetched) == 1
    world.now_ms += passed_ms
    request(world, (cookie, token))
    assert len(world.cluster.fetched) == 2


async def test_writes_that_nobody_has_do_not_lose_the_session_in_a_loop_either(
    world: World,
) -> None:
    cookie, _ = store(world, a=1)
    session = world.open([cookie], None, [signed(world, cookie[:23], {PEER: 5})])
    await world.fetch_async(session)
    assert session == {"a": 1}
    assert world.manager.counters.stale_reads == 1


async def test_a_few_requests_of_a_process_wait_and_the_others_get_what_is_here(
    world: World,
) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(key: str, wanted: Mapping[bytes, int] = {}) -> bool:
        world.cluster.fetched.append(key)
        if len(world.cluster.fetched) == WAITING_MAX:
            asked.set()
        await answer.wait()
        return False

    world.cluster.fetch_async = slow  # type: ignore[method-assign]
    cookies = [store(world, a=number)[0] for number in range(WAITING_MAX + 1)]

    def begin(cookie: str) -> Session:
        return world.open([cookie], None, [signed(world, cookie[:23], {PEER: 5})])

    waiting = [
        asyncio.ensure_future(world.fetch_async(begin(cookie))) for cookie in cookies[:-1]
    ]
    await asyncio.wait_for(asked.wait(), 10)
    session = begin(cookies[-1])
    await world.fetch_async(session)
    assert session == {"a": WAITING_MAX}
    assert world.manager.counters.stale_reads == 1
    # One that is not here is looked for all the same: its user would be logged out.
    missing = world.replica.states.pop(cookies[-1][:23])
    lost = asyncio.ensure_future(world.fetch_async(begin(cookies[-1])))
    await asyncio.sleep(0)
    assert len(world.cluster.fetched) == WAITING_MAX + 1
    world.replica.states[cookies[-1][:23]] = missing
    answer.set()
    await asyncio.gather(*waiting, lost)
    # The places are free again; and the one that did not wait was not given up.
    await world.fetch_async(begin(cookies[-1]))
    assert len(world.cluster.fetched) == WAITING_MAX + 2


def test_without_peers_nobody_waits() -> None:
    world = make_world(fetch_timeout_s=60.0)
    cookie, _ = store(world, a=1)
    token = signed(world, cookie[:23], {PEER: 5})
    assert request(world, (cookie, token)) == {"a": 1}
    assert world.manager.counters.stale_reads == 1


def test_a_token_of_another_session_counts_as_none(world: World) -> None:
    (cookie, _), (other, _) = store(world, a=1), store(world, a=2)
    token = signed(world, other[:23], {PEER: 5})
    assert not visit_of(world.open([cookie], None, [token])).missing
    assert visit_of(world.open([other], None, [token])).missing
    # Nor is one that was signed for the id from before a login.
    session = request(world, (other, token))
    session.rotate()
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    assert not visit_of(world.open([cookie_of(outcome.set_cookie)], None, [token])).missing


@pytest.mark.parametrize("token", ["", "1", "junk", "1" * 20_000, "\xff", "1AAA"])
def test_what_is_no_token_counts_as_none(world: World, token: str) -> None:
    cookie, _ = store(world, a=1)
    assert not visit_of(world.open([cookie], None, [token])).missing
    assert request(world, (cookie, token)) == {"a": 1}
    assert world.cluster.fetched == []


def test_logout_wins_over_the_token(world: World) -> None:
    stored = store(world, a=1)
    newer, token = fall_behind(world, stored, a=2)
    session = world.open([stored[0]], None, [token])
    assert visit_of(session).missing
    logout = world.open([stored[0]])
    logout.invalidate()
    world.commit(logout)
    world.fetch(session)
    assert session == {}
    assert world.manager.counters.stale_reads == 0
    assert newer.ended is None


def test_a_session_that_is_not_here_is_fetched_up_to_the_token(world: World) -> None:
    stored = store(world, a=1)
    newer, token = fall_behind(world, stored, a=2)
    key = stored[0][:23]
    old = world.replica.states.pop(key)
    world.cluster.elsewhere[key] = old
    assert request(world, (stored[0], token)) == {"a": 1}
    assert world.manager.counters.stale_reads == 1
    del world.replica.states[key]
    world.cluster.elsewhere[key] = newer
    assert request(world, (stored[0], token)) == {"a": 2}


def test_by_default_there_is_no_second_cookie_and_nobody_reads_one() -> None:
    world = World()
    cookie = world.store(a=1)
    token = signed(world, cookie[:23], {PEER: 5})
    session = world.open([cookie], None, [token])
    assert not visit_of(session).missing
    session["a"] = 2
    assert world.commit(session).set_seen_cookie is None
    session = world.open([cookie])
    session.invalidate()
    assert world.commit(session).set_seen_cookie is None
    assert world.manager.seen_cookie_name == ""
