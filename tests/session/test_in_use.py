"""A session that a request opens does not leave for the store under it."""

import pytest

from clustersession.core.ids import KEY_LENGTH
from clustersession.session.visit import visit_of
from tests.session.fakes import World

LATER_MS = 20 * 60_000


def world(**settings: object) -> World:
    with_store = {"distributable": True, "store": "valkey://store", "near_cache_idle_s": 600.0}
    return World(**{**with_store, **settings})


def test_an_access_that_is_due_is_recorded_when_the_session_is_opened() -> None:
    it = world()
    cookie = it.store(a=1)
    it.now_ms += LATER_MS
    before = len(it.replica.commits)
    session = it.open([cookie])
    assert len(it.replica.commits) == before + 1
    assert it.replica.states[cookie[:KEY_LENGTH]].accessed_ms == it.now_ms
    assert it.cluster.feed_heads[-1] == 2
    assert session["a"] == 1
    it.commit(session)
    assert len(it.replica.commits) == before + 1


def test_one_that_is_fresh_is_not() -> None:
    it = world()
    cookie = it.store(a=1)
    before = len(it.replica.commits)
    it.open([cookie])
    assert len(it.replica.commits) == before


def test_where_nothing_leaves_it_is_recorded_at_the_end_as_ever() -> None:
    it = world(near_cache_idle_s=0.0)
    cookie = it.store(a=1)
    it.now_ms += LATER_MS
    before = len(it.replica.commits)
    session = it.open([cookie])
    assert len(it.replica.commits) == before
    it.commit(session)
    assert len(it.replica.commits) == before + 1


def test_one_that_leaves_at_this_moment_is_fetched() -> None:
    it = world()
    cookie = it.store(a=1)
    key = cookie[:KEY_LENGTH]
    it.now_ms += LATER_MS
    it.cluster.elsewhere[key] = it.replica.states[key]
    commit = it.replica.commit

    def leaves(*arguments: object) -> object:
        it.replica.states.pop(key, None)
        it.replica.commit = commit  # type: ignore[method-assign]
        return commit(*arguments)  # type: ignore[arg-type]

    it.replica.commit = leaves  # type: ignore[method-assign, assignment]
    session = it.open([cookie])
    it.fetch(session)
    assert it.cluster.fetched == [key]
    assert session["a"] == 1


def test_what_was_fetched_stays_as_well() -> None:
    it = world()
    cookie = it.store(a=1)
    key = cookie[:KEY_LENGTH]
    it.now_ms += LATER_MS
    it.cluster.elsewhere[key] = it.replica.states.pop(key)
    session = it.open([cookie])
    it.fetch(session)
    assert it.replica.states[key].accessed_ms == it.now_ms
    assert session["a"] == 1


def test_the_cookie_is_refreshed_all_the_same() -> None:
    it = world(cookie_max_age_s=3600)
    cookie = it.store(a=1)
    it.now_ms += LATER_MS
    session = it.open([cookie])
    assert it.commit(session).set_cookie is not None


def test_without_space_the_request_goes_on() -> None:
    it = world()
    cookie = it.store(a=1)
    it.now_ms += LATER_MS
    it.replica.full = True
    assert it.open([cookie])["a"] == 1


def left(it: World, cookie: str, *, reachable: bool) -> str:
    """The session leaves for the store while its request is open."""
    key = cookie[:KEY_LENGTH]
    state = it.replica.states.pop(key)
    if reachable:
        it.cluster.elsewhere[key] = state
    return key


@pytest.mark.parametrize("reachable", [True, False])
def test_what_left_under_a_request_takes_what_that_writes(reachable: bool) -> None:
    it = world()
    cookie = it.store(a=1)
    session = it.open([cookie])
    key = left(it, cookie, reachable=reachable)
    session["b"] = 2
    it.commit(session)
    assert it.cluster.fetched == [key]
    assert {"a", "b"} <= it.replica.states[key].registers.keys()
    assert not visit_of(session).discarded


@pytest.mark.parametrize("reachable", [True, False])
def test_what_left_under_a_request_is_ended_by_that(reachable: bool) -> None:
    it = world()
    cookie = it.store(a=1)
    session = it.open([cookie])
    key = left(it, cookie, reachable=reachable)
    session.invalidate()
    it.commit(session)
    assert it.replica.states[key].ended is not None


@pytest.mark.parametrize("reachable", [True, False])
def test_what_left_under_a_request_gets_its_new_id(reachable: bool) -> None:
    it = world()
    cookie = it.store(a=1)
    session = it.open([cookie])
    key = left(it, cookie, reachable=reachable)
    session.rotate()
    outcome = it.commit(session)
    assert it.replica.states[key].ended is not None
    [new] = [name for name in it.replica.states if name != key]
    assert "a" in it.replica.states[new].registers
    assert outcome.set_cookie is not None
    assert new in outcome.set_cookie


def test_what_left_under_a_request_that_only_reads_is_not_asked_for() -> None:
    it = world()
    cookie = it.store(a=1)
    session = it.open([cookie])
    left(it, cookie, reachable=True)
    assert session["a"] == 1
    assert it.commit(session).set_cookie is None
    assert it.cluster.fetched == []
    assert not it.manager.has_ended(visit_of(session))


def test_a_cookie_that_is_due_is_set_though_the_session_has_left() -> None:
    it = world()
    cookie = it.store(a=1)
    session = it.open([cookie.partition(".")[0] + ".elsewhere"])
    left(it, cookie, reachable=False)
    assert it.commit(session).set_cookie is not None


def test_where_nothing_leaves_what_is_gone_is_gone() -> None:
    it = world(store="")
    cookie = it.store(a=1)
    session = it.open([cookie])
    key = left(it, cookie, reachable=True)
    session["b"] = 2
    it.commit(session)
    assert visit_of(session).discarded
    assert it.manager.has_ended(visit_of(session))
    assert key not in it.replica.states
    assert it.cluster.fetched == []


def test_one_that_expired_meanwhile_is_not_taken_back() -> None:
    it = world()
    cookie = it.store(a=1)
    session = it.open([cookie])
    key = left(it, cookie, reachable=True)
    it.now_ms += 2 * 3_600_000
    session["b"] = 2
    it.commit(session)
    assert it.cluster.fetched == []
    assert key not in it.replica.states
    assert it.manager.has_ended(visit_of(session))


def test_a_long_request_keeps_what_has_left_alive_in_the_store() -> None:
    it = world()
    cookie = it.store(a=1)
    session = it.open([cookie])
    it.manager.open_visits.add(visit_of(session))
    it.manager.open_visits.record_accesses()
    key = left(it, cookie, reachable=True)
    it.manager.open_visits.record_accesses()
    assert it.cluster.fetched == [], "none is due"
    it.now_ms += LATER_MS
    it.manager.open_visits.record_accesses()
    assert it.cluster.fetched == [key]
    assert it.replica.states[key].accessed_ms == it.now_ms


def test_what_left_under_a_request_is_not_asked_for_in_an_event_loop() -> None:
    it = world()
    cookie = it.store(a=1)
    session = it.open([cookie])
    session["b"] = 2
    assert it.manager.is_brief(visit_of(session))
    left(it, cookie, reachable=True)
    assert not it.manager.is_brief(visit_of(session))
