"""An open request keeps its session alive, and its end is an access."""

import gc
from typing import Any

import pytest

from clustersession.core.errors import ReplicaError
from clustersession.core.state import expires_ms
from clustersession.session import open_visits
from clustersession.session.open_visits import CHANGES_PER_COMMIT, owed_accesses
from clustersession.session.visit import Visit
from tests.session.fakes import World

IDLE_S = 100
COARSE_MS = 5_000


def a_world(**options: Any) -> World:
    return World(**{"idle_timeout_s": IDLE_S, "absolute_timeout_s": 1_000, **options})


def opened(world: World, cookie: str) -> Visit:
    visit = world.manager.open([cookie])
    world.manager.open_visits.add(visit)
    return visit


def look(world: World) -> int:
    """Record what is owed; how many changes that took."""
    before = sum(len(changes) for changes in world.replica.commits)
    world.manager.open_visits.record_accesses()
    return sum(len(changes) for changes in world.replica.commits) - before


def pass_time(world: World, seconds: float, *, every_s: float = 1) -> int:
    recorded = 0
    for _ in range(round(seconds / every_s)):
        world.now_ms += round(every_s * 1000)
        recorded += look(world)
    return recorded


def test_a_session_lives_as_long_as_a_request_is_open_and_then_as_any_other() -> None:
    world = a_world()
    cookie = world.store(a=1)
    visit = opened(world, cookie)
    world.manager.commit(visit)
    recorded = pass_time(world, 5 * IDLE_S)
    assert not world.open([cookie]).new
    # No more often than reads would have been.
    assert recorded == pytest.approx(5 * IDLE_S * 1000 / COARSE_MS, abs=1)
    assert len(world.cluster.feed_heads) == recorded
    world.manager.close(visit)
    assert pass_time(world, IDLE_S - 1) == 0
    assert not world.open([cookie]).new
    pass_time(world, 7)
    assert world.open([cookie]).new


def test_a_short_request_that_happens_to_be_open_has_nothing_recorded() -> None:
    world = a_world()
    cookie = world.store(a=1)
    world.now_ms += 10 * COARSE_MS
    visit = opened(world, cookie)
    assert look(world) == 0
    assert look(world) == 1
    world.manager.close(visit)


def test_many_requests_of_one_session_are_one_access() -> None:
    world = a_world()
    cookie = world.store(a=1)
    visits = [opened(world, cookie) for _ in range(5)]
    assert pass_time(world, 11) == 2
    for visit in visits:
        world.manager.close(visit)
    assert pass_time(world, 50) == 0


def test_the_accesses_of_many_sessions_go_into_few_commits() -> None:
    world = a_world()
    visits = [opened(world, world.store(a=1)) for _ in range(CHANGES_PER_COMMIT + 1)]
    look(world)
    before = len(world.replica.commits)
    assert pass_time(world, COARSE_MS / 1000) == len(visits)
    assert len(world.replica.commits) - before == 2


def test_nothing_is_recorded_where_a_sibling_has_just_done_so() -> None:
    world = a_world()
    cookie = world.store(a=1)
    visit = opened(world, cookie)
    look(world)
    world.now_ms += 6_000
    world.commit(world.open([cookie]))
    assert look(world) == 0
    assert pass_time(world, 4) == 0
    assert pass_time(world, 2) == 1
    assert visit.is_open


@pytest.mark.parametrize("how", ["ended", "expired", "swept"])
def test_a_session_that_is_over_stays_so(how: str) -> None:
    world = a_world()
    cookie = world.store(a=1)
    visit = opened(world, cookie)
    key = visit.key
    assert key is not None
    look(world)
    if how == "ended":
        other = world.open([cookie])
        other.invalidate()
        world.commit(other)
    # As after a machine was suspended.
    world.now_ms += 2 * IDLE_S * 1000 if how != "ended" else COARSE_MS
    if how == "swept":
        del world.replica.states[key]
    before = world.replica.states.get(key)
    assert look(world) == 0
    world.manager.close(visit)
    assert world.replica.states.get(key) is before
    assert world.open([cookie]).new


def test_the_deadline_ends_it_all_the_same() -> None:
    world = a_world(absolute_timeout_s=300)
    cookie = world.store(a=1)
    visit = opened(world, cookie)
    pass_time(world, 299)
    assert not world.open([cookie]).new
    pass_time(world, 2)
    assert world.open([cookie]).new
    assert pass_time(world, 100) == 0
    assert visit.is_open


@pytest.mark.parametrize(("later_s", "recorded"), [(4, 0), (6, 1)])
def test_the_end_of_a_request_is_an_access_if_one_is_due(later_s: int, recorded: int) -> None:
    world = a_world()
    cookie = world.store(a=1)
    visit = opened(world, cookie)
    world.manager.commit(visit)
    before = len(world.replica.commits)
    look(world)
    world.now_ms += later_s * 1000
    world.manager.close(visit)
    assert len(world.replica.commits) - before == recorded
    world.now_ms += 10_000
    world.manager.close(visit)
    assert len(world.replica.commits) - before == recorded


def test_the_end_is_none_where_it_was_recorded_while_the_request_was_open() -> None:
    world = a_world()
    visit = opened(world, world.store(a=1))
    world.manager.commit(visit)
    assert pass_time(world, 6) == 1
    before = len(world.replica.commits)
    world.manager.close(visit)
    assert len(world.replica.commits) == before


def test_a_session_that_began_in_the_request_is_kept_as_well() -> None:
    world = a_world()
    visit = world.manager.open([])
    world.manager.open_visits.add(visit)
    visit.session["a"] = 1
    world.manager.commit(visit)
    assert pass_time(world, 3 * IDLE_S) > 0
    assert not world.manager.has_ended(visit)


def test_one_with_a_short_timeout_of_its_own_is_kept() -> None:
    world = World()
    session = world.open([])
    session["a"], session.idle_timeout = 1, 2
    world.commit(session)
    visit = session._visit
    world.manager.open_visits.add(visit)
    pass_time(world, 20, every_s=world.manager.open_visits.look_interval_s)
    assert not world.manager.has_ended(visit)


@pytest.mark.parametrize("idle_s", [0, 0.0001, 0.5, 4, 1_800, 10**7])
def test_it_is_looked_often_enough_and_not_all_the_time(idle_s: float) -> None:
    interval_s = World(idle_timeout_s=idle_s).manager.open_visits.look_interval_s
    assert 0.05 <= interval_s <= 0.5
    if idle_s >= 1:
        assert interval_s <= idle_s / 20


def test_a_visit_that_nobody_holds_any_more_is_not_open() -> None:
    world = a_world()
    opened(world, world.store(a=1))
    gc.collect()
    assert pass_time(world, 20) == 0


def test_where_nobody_looks_the_list_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_visits, "OPENED_MAX", 10)
    world = a_world()
    for _ in range(100):
        world.manager.open_visits.add(world.manager.open([]))
    assert len(world.manager.open_visits._opened) == 10


def test_a_full_replica_and_a_broken_one_harm_no_request() -> None:
    world = a_world()
    visit = opened(world, world.store(a=1))
    world.replica.full = True
    pass_time(world, 6)
    assert world.manager.counters.touches == 0
    world.replica.full = False
    assert pass_time(world, 6) == 1

    def broken(*_: object) -> None:
        raise ReplicaError("the test says so")

    world.now_ms += 6_000
    world.replica.commit = broken  # type: ignore[assignment,method-assign]
    world.manager.close(visit)
    assert not visit.is_open


def test_which_accesses_are_owed_is_decided_by_the_newest_copy() -> None:
    world = a_world()
    visit = opened(world, world.store(a=1))
    key, state = visit.key, visit.state
    assert key is not None
    assert state is not None
    due_ms = state.accessed_ms + COARSE_MS
    assert owed_accesses([visit], due_ms - 1) == []
    owed = owed_accesses([visit], due_ms)
    assert [(change.key, change.accessed_ms) for change in owed] == [(key, due_ms)]
    visit.recorded_until_ms = 0
    assert owed_accesses([visit], expires_ms(state)) != []
    visit.recorded_until_ms = 0
    assert owed_accesses([visit], expires_ms(state) + 1) == []
