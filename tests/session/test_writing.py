"""What a request does to its session: a new one, changes, a new id, an end, an access."""

import pytest

from clustersession.core.creation_rate import BURST_S
from clustersession.core.errors import SessionTooLarge
from clustersession.core.state import Change, SessionState
from clustersession.session.outcome import Outcome
from tests.session.fakes import Users, World, cookie_of

MINUTE_MS = 60_000


@pytest.fixture
def world() -> World:
    return World()


def test_permanent_alone_is_no_session(world: World) -> None:
    session = world.open([])
    session.permanent = True
    assert world.commit(session).set_cookie is None
    assert world.replica.states == {}


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
    assert after.created_ms == before.created_ms
    # Of nobody's session it became Ann's: it lives as if it had been hers from the start.
    assert before.deadline_ms == before.created_ms + 86_400_000
    assert after.deadline_ms == before.created_ms + 7 * 86_400_000
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


def test_a_write_renews_the_cookie_of_a_session_that_another_request_made_permanent() -> None:
    world = World(idle_timeout_s=1000.0)
    cookie = world.store(n=1)
    world.now_ms += 5 * MINUTE_MS
    one, two = world.open([cookie]), world.open([cookie])
    two.permanent = True
    world.commit(two)
    one["n"] = 2
    header = world.commit(one).set_cookie
    assert header is not None
    assert "Max-Age=1000" in header


def test_beyond_the_rate_a_new_session_is_not_stored_and_a_login_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = Users(new_sessions_per_second_max=1)

    def begin(user: str = "") -> Outcome:
        session = world.open([])
        session["a"] = 1
        if user:
            session.principal = user
        return world.commit(session)

    cookies = [begin().set_cookie for _ in range(BURST_S)]
    assert None not in cookies
    for number in range(1, 4):
        session = world.open([])
        session["a"] = 1
        assert world.commit(session).set_cookie is None
        # The page works, and nothing of the request is stored later.
        assert session == {"a": 1}
        world.save(session)
        assert world.manager.counters.refused_new_sessions == number
    assert world.memory.stats().sessions == BURST_S
    assert begin("ann").set_cookie is not None
    assert sum("new_sessions_per_second_max" in record.message for record in caplog.records) == 1
    # What is there goes on: it is changed, it gets a new id, it ends.
    session = world.open([cookie_of(cookies[0] or "")])
    session["a"] = 2
    session.rotate()
    assert world.commit(session).set_cookie is not None
    world.now_ms += 61_000
    assert begin().set_cookie is not None


def test_a_logout_beside_a_session_that_is_not_begun_is_stored() -> None:
    world = Users(new_sessions_per_second_max=1)
    cookie = world.login("ann")
    for _ in range(BURST_S + 1):
        session = world.open([])
        session["a"] = 1
        world.commit(session)
    session = world.open([cookie])
    session.invalidate()
    session["flash"] = "goodbye"
    assert world.commit(session).set_cookie is None
    assert not world.is_alive(cookie)


def test_no_rate_is_no_limit() -> None:
    world = Users(new_sessions_per_second_max=0)
    for _ in range(BURST_S * 600):
        session = world.open([])
        session["a"] = 1
        assert world.commit(session).set_cookie is not None
