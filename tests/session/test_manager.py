"""One request after another against one node: what is stored, what the client is told."""

import pytest

from clustersession.core.errors import ReplicationFailed, SessionTooLarge
from clustersession.core.state import Change, SessionState
from clustersession.session.outcome import Outcome
from clustersession.session.token import IdSigner
from clustersession.session.visit import visit_of
from tests.session.fakes import World, cookie_of

MINUTE_MS = 60_000


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


def test_permanent_alone_is_no_session(world: World) -> None:
    session = world.open([])
    session.permanent = True
    assert world.commit(session).set_cookie is None
    assert world.replica.states == {}


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


def test_interleaved_requests_keep_each_others_keys(world: World) -> None:
    cookie = world.store(a=[0])
    one, two = world.open([cookie]), world.open([cookie])
    one["x"] = 1
    two["y"] = 2
    assert one["a"] == two["a"]
    world.commit(two)
    world.commit(one)
    assert world.open([cookie]) == {"a": [0], "x": 1, "y": 2}


def test_logout_wins_over_a_slow_request(world: World) -> None:
    cookie = world.store(user="ann")
    slow, logout = world.open([cookie]), world.open([cookie])
    assert slow["user"] == "ann"
    logout.invalidate()
    outcome = world.commit(logout)
    assert outcome.set_cookie is not None
    assert "Max-Age=0" in outcome.set_cookie
    slow["user"] = "still ann"
    assert world.commit(slow).set_cookie is None
    slow["more"] = 1
    slow.save()
    slow.rotate()
    slow.save()
    assert world.manager.counters.lost_writes == 1
    assert world.open([cookie]) == {}
    assert [s.ended is not None for s in world.replica.states.values()] == [True]


def test_a_slow_request_that_rotates_after_logout_is_dead_too(world: World) -> None:
    cookie = world.store(user="ann")
    slow, logout = world.open([cookie]), world.open([cookie])
    logout.invalidate()
    world.commit(logout)
    slow.rotate()
    slow["admin"] = True
    assert world.commit(slow).set_cookie is None
    assert all(s.ended is not None for s in world.replica.states.values())


def test_a_logout_between_read_and_rotation_wins(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = world.store(user="ann")
    session = world.open([cookie])
    session.rotate()
    get = world.replica.get

    def get_then_logout(key: str) -> SessionState | None:
        state = get(key)
        world.replica.commit([Change(key, world.now_ms, end="invalidated")], world.now_ms)
        return state

    monkeypatch.setattr(world.replica, "get", get_then_logout)
    assert world.commit(session).set_cookie is None
    assert all(s.ended is not None for s in world.replica.states.values())


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


def test_setting_after_invalidate_starts_a_new_session(world: World) -> None:
    cookie = world.store(user="ann", theme="dark")
    session = world.open([cookie])
    theme = session["theme"]
    session.invalidate()
    assert session == {}
    assert session.sid is None
    session["theme"] = theme
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    new = cookie_of(outcome.set_cookie)
    assert new[:39] != cookie[:39]
    assert len(world.replica.commits[-1]) == 2
    assert world.open([new]) == {"theme": "dark"}
    assert world.open([cookie]) == {}


def test_invalidate_of_nothing_sets_no_cookie(world: World) -> None:
    session = world.open([])
    session.invalidate()
    assert world.commit(session).set_cookie is None
    assert world.replica.commits == []


def test_rotation_keeps_the_data_and_ends_the_old_id_in_one_commit(world: World) -> None:
    cookie = world.store(cart=[1], drop=1)
    before = world.replica.states[cookie[:23]]
    world.now_ms += MINUTE_MS
    session, sibling = world.open([cookie]), world.open([cookie])
    sibling["late"] = True
    world.commit(sibling)
    session["user"] = "ann"
    session["cart"].append(2)
    del session["drop"]
    session.principal = "ann"
    session.rotate()
    commits = len(world.replica.commits)
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    new = cookie_of(outcome.set_cookie)
    assert len(world.replica.commits) == commits + 1
    reopened = world.open([new])
    assert reopened == {"cart": [1, 2], "late": True, "user": "ann"}
    assert reopened.principal == "ann"
    ended = world.replica.states[cookie[:23]].ended
    assert ended is not None
    assert ended.reason == "rotated"
    after = world.replica.states[new[:23]]
    assert (after.created_ms, after.deadline_ms) == (before.created_ms, before.deadline_ms)
    session["after"] = 1
    session.save()
    assert world.open([new])["after"] == 1


def test_rotating_what_is_not_stored_needs_nothing(world: World) -> None:
    session = world.open([])
    session.rotate()
    assert world.commit(session).set_cookie is None
    session = world.open([])
    session.rotate()
    session["a"] = 1
    assert world.commit(session).set_cookie is not None
    assert len(world.replica.states) == 1


def test_accesses_are_recorded_coarsely(world: World) -> None:
    cookie = world.store(a=1)
    before = len(world.replica.commits)
    for _ in range(30):
        world.now_ms += MINUTE_MS // 2
        world.commit(world.open([cookie]))
    # 15 minutes at a coarseness of a twentieth of 30: every 90 seconds.
    assert len(world.replica.commits) - before == 10
    assert world.cluster.feed_heads != []
    assert world.cluster.confirmed == [1]
    world.now_ms += 29 * MINUTE_MS
    assert world.open([cookie]) == {"a": 1}
    world.now_ms += 3 * MINUTE_MS
    assert world.open([cookie]) == {}


def test_an_expired_session_in_flight_is_not_revived(world: World) -> None:
    cookie = world.store(a=1)
    session = world.open([cookie])
    world.now_ms += 40 * MINUTE_MS
    session["b"] = 1
    assert world.commit(session).set_cookie is None
    assert world.manager.counters.lost_writes == 1


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


def test_ack_policies() -> None:
    world = World(ack="none")
    world.store(a=1)
    assert world.cluster.confirmed == []
    assert world.cluster.feed_heads == [1]
    world = World(ack="one")
    world.cluster.confirms = False
    world.store(a=1)
    assert world.manager.counters.unconfirmed == 1
    world = World(ack="one", ack_failure="error")
    world.cluster.confirms = False
    session = world.open([])
    session["a"] = 1
    with pytest.raises(ReplicationFailed):
        world.commit(session)
    # It is stored here, so the error page carries the cookie.
    assert world.commit(session).set_cookie is not None


def test_a_full_replica_is_no_error_page(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    cookie = world.store(a=1)
    world.replica.full = True
    for _ in range(5):
        session = world.open([cookie])
        session["b"] = 1
        assert world.commit(session).set_cookie is None
        fresh = world.open([])
        fresh["a"] = 1
        assert world.commit(fresh).set_cookie is None
    assert world.manager.counters.replica_full == 10
    assert len([r for r in caplog.records if "no space" in r.getMessage()]) == 1
    world.replica.full = False
    assert world.open([cookie]) == {"a": 1}


def test_a_login_on_a_full_replica_does_not_come_later_under_the_old_id() -> None:
    world = World()
    cookie = world.store(a=1)
    session = world.open([cookie])
    session.rotate()
    session["user"] = "ann"
    world.replica.full = True
    assert world.commit(session).set_cookie is None
    world.replica.full = False
    world.save(session)
    # Whoever planted the id before the login must not be logged in with it.
    assert world.open([cookie]) == {"a": 1}


def test_a_logout_on_a_full_replica_is_stored_once_there_is_space(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    cookie, other = world.store(a=1), world.store(b=2)
    session = world.open([cookie])
    session.invalidate()
    world.replica.full = True
    assert "Max-Age=0" in (world.commit(session).set_cookie or "")
    assert len([r for r in caplog.records if "was ended" in r.getMessage()]) == 1
    assert world.open([cookie]) == {}, "this process knows of the logout"
    world.commit(world.open([other]))
    assert len([r for r in caplog.records if "was ended" in r.getMessage()]) == 1
    world.replica.full = False
    world.commit(world.open([other]))
    key = world.signer.key_of(cookie.partition(".")[0])
    assert key is not None
    assert world.replica.states[key].ended is not None, "every process and node knows of it"
    commits = len(world.replica.commits)
    world.commit(world.open([other]))
    assert len(world.replica.commits) == commits, "nothing is owed any more"


def test_a_logout_is_stored_without_what_does_not_fit_beside_it() -> None:
    world = World()
    cookie = world.store(a=1)
    session = world.open([cookie])
    session.invalidate()
    session["flash"] = "goodbye"
    world.replica.takes_ends_only = True
    assert world.commit(session).set_cookie is None
    key = world.signer.key_of(cookie.partition(".")[0])
    assert key is not None
    assert world.replica.states[key].ended is not None
    assert world.cluster.feed_heads == [2], "peers hear of it now"


def test_limits() -> None:
    world = World(attribute_bytes_max=100, session_bytes_max=250)
    cookie = world.store(a="x" * 90)
    session = world.open([cookie])
    session["big"] = "x" * 101
    with pytest.raises(SessionTooLarge, match="attribute_bytes_max"):
        world.commit(session)
    session = world.open([cookie])
    session["b"] = session["c"] = "x" * 90
    with pytest.raises(SessionTooLarge, match="session_bytes_max"):
        world.commit(session)
    session = world.open([cookie])
    del session["a"]
    session["b"] = session["c"] = "x" * 90
    world.commit(session)
    assert set(world.open([cookie])) == {"b", "c"}


def test_a_cookie_with_a_lifetime_is_refreshed_once_in_a_quarter() -> None:
    world = World(cookie_max_age_s=3600, idle_timeout_s=7200)
    cookie = world.store(a=1)
    refreshed = 0
    for _ in range(120):
        world.now_ms += MINUTE_MS
        outcome = world.commit(world.open([cookie]))
        if outcome.set_cookie is not None:
            refreshed += 1
            assert "Max-Age=3600" in outcome.set_cookie
    assert refreshed == 8


def test_without_sliding_only_writes_refresh() -> None:
    world = World(cookie_max_age_s=3600, idle_timeout_s=7200, sliding=False)
    cookie = world.store(a=1)
    for _ in range(30):
        world.now_ms += MINUTE_MS
        assert world.commit(world.open([cookie])).set_cookie is None
    session = world.open([cookie])
    session["a"] = 2
    world.commit(session)


def test_permanent_sessions_outlive_the_browser() -> None:
    world = World(permanent_lifetime_s=86_400.0)
    session = world.open([])
    session.permanent = True
    session["a"] = 1
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    assert "Max-Age=86400" in outcome.set_cookie
    cookie = cookie_of(outcome.set_cookie)
    world.now_ms += 120 * MINUTE_MS
    session = world.open([cookie])
    session.permanent = True
    assert session["a"] == 1
    assert world.commit(session).set_cookie is None
    session = world.open([cookie])
    session.permanent = False
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    assert "Max-Age" not in outcome.set_cookie
    assert world.open([cookie]).idle_timeout == 1800.0


def test_save_before_the_response_and_the_cookie_with_it(world: World) -> None:
    session = world.open([])
    session["a"] = 1
    session.save()
    assert session.sid is not None
    outcome = world.commit(session)
    assert outcome.set_cookie is not None
    assert cookie_of(outcome.set_cookie) == f"{session.sid}.a"
    assert len(world.replica.commits) == 1


def test_late_changes_are_saved_but_no_new_id_is_made(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    cookie = world.store(a=1)
    session = world.open([cookie])
    world.commit(session)
    session["late"] = 1
    session.rotate()
    session.save()
    assert world.open([cookie]) == {"a": 1, "late": 1}
    assert "no new id" in caplog.text
    fresh = world.open([])
    world.commit(fresh)
    fresh["late"] = 1
    fresh.save()
    assert world.manager.counters.late_new_sessions == 1
    assert len(world.replica.states) == 1


async def test_asave(world: World) -> None:
    session = world.open([])
    session["a"] = 1
    await session.asave()
    assert world.cluster.confirmed == [1]
