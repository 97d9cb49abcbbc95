"""Fetches, commits and confirmations are measured where all of them pass."""

import asyncio
from typing import Any

import pytest

from clustersession.core.durations import Durations
from clustersession.core.errors import ReplicaFull, ReplicationFailed
from clustersession.session.measuring import MeasuredStep
from tests.session.fakes import Users, World


class Traced:
    """A world with all that a trace is told."""

    def __init__(self, **options: Any) -> None:
        self.steps: list[MeasuredStep] = []
        self.world = World(trace=self.steps.append, **options)

    def outcomes(self) -> list[tuple[str, str]]:
        return [(step.name, step.outcome) for step in self.steps]


def number_in(durations: Durations) -> int:
    return sum(durations.counts)


def test_a_write_is_a_commit_and_a_confirmation_and_a_read_is_nothing() -> None:
    traced = Traced()
    cookie = traced.world.store(a=1)
    assert traced.outcomes() == [("commit", "stored"), ("confirm", "confirmed")]
    traced.world.commit(traced.world.open([cookie]))
    assert len(traced.steps) == 2
    counters = traced.world.manager.counters
    assert [number_in(d) for d in (counters.commit, counters.confirm, counters.fetch)] == [1, 1, 0]


def test_sizes_are_of_names_and_values() -> None:
    traced = Traced()
    cookie = traced.world.store(basket="b" * 500)
    commit, confirmation = traced.steps
    assert 505 < commit.size_bytes < 540
    assert confirmation.size_bytes >= commit.size_bytes
    session = traced.world.open([cookie])
    session["n"] = 1
    traced.world.commit(session)
    commit, confirmation = traced.steps[2:]
    assert commit.size_bytes < 10
    assert confirmation.size_bytes > 505


def test_a_write_without_effect_says_so() -> None:
    traced = Traced()
    world = traced.world
    cookie = world.store(a=1)
    late, logout = world.open([cookie]), world.open([cookie])
    logout.invalidate()
    world.commit(logout)
    late["a"] = 2
    world.commit(late)
    assert traced.outcomes()[-1] == ("commit", "unchanged")


def test_a_full_replica_is_an_error_of_the_commit() -> None:
    traced = Traced()
    traced.world.replica.full = True
    session = traced.world.open([])
    session["a"] = 1
    traced.world.commit(session)
    (commit,) = traced.steps
    assert (commit.outcome, commit.error) == ("failed", "clustersession.core.errors.ReplicaFull")
    assert ReplicaFull.__module__ in commit.error


def test_what_is_not_confirmed_in_time_is_a_timeout() -> None:
    traced = Traced(ack_failure="error")
    traced.world.cluster.confirms = False
    session = traced.world.open([])
    session["a"] = 1
    with pytest.raises(ReplicationFailed):
        traced.world.commit(session)
    step = traced.steps[-1]
    assert (step.name, step.outcome, step.error) == ("confirm", "unconfirmed", "timeout")


def fetched(traced: Traced) -> Any:
    """A request for a session that another node has."""
    world = traced.world
    cookie = world.store(a=1)
    ((key, state),) = world.replica.states.items()
    world.cluster.elsewhere[key] = state
    world.replica.states.clear()
    traced.steps.clear()
    return world.open([cookie])


def test_a_fetch_says_how_much_it_brought() -> None:
    traced = Traced()
    traced.world.fetch(fetched(traced))
    (fetch,) = traced.steps
    assert (fetch.name, fetch.outcome, fetch.error) == ("fetch", "found", "")
    assert fetch.size_bytes > 0
    assert number_in(traced.world.manager.counters.fetch) == 1


def test_a_fetch_of_nothing_is_no_error() -> None:
    traced = Traced()
    session = fetched(traced)
    traced.world.cluster.elsewhere.clear()
    traced.world.fetch(session)
    assert [(s.outcome, s.size_bytes, s.error) for s in traced.steps] == [("missing", 0, "")]


async def test_an_event_loop_is_measured_as_well() -> None:
    traced = Traced()
    session = fetched(traced)
    await traced.world.fetch_async(session)
    session["b"] = 2
    await traced.world.commit_async(session)
    assert traced.outcomes() == [
        ("fetch", "found"), ("commit", "stored"), ("confirm", "confirmed"),
    ]


async def test_a_request_that_is_cancelled_was_waiting_all_the_same() -> None:
    traced = Traced()
    session = fetched(traced)
    waiting = asyncio.Event()

    async def wait_for_ever(*_: object) -> bool:
        waiting.set()
        await asyncio.Event().wait()
        return True

    traced.world.cluster.fetch_async = wait_for_ever  # type: ignore[method-assign]
    request = asyncio.create_task(traced.world.fetch_async(session))
    await waiting.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    (fetch,) = traced.steps
    assert (fetch.outcome, fetch.error) == ("failed", "asyncio.exceptions.CancelledError")
    assert number_in(traced.world.manager.counters.fetch) == 1


def test_lives_are_counted_by_their_end() -> None:
    world = Users(sessions_per_principal_max=2)
    cookies = [world.login("ann") for _ in range(3)]
    counters = world.manager.counters
    assert (counters.created, counters.ended_limit) == (3, 1)
    session = world.open(cookies[-1])
    session.rotate()
    cookie = world.answer(session)
    assert (counters.created, counters.ended_rotated) == (4, 1)
    session = world.open(cookie)
    session.invalidate()
    world.commit(session)
    assert counters.ended_invalidated == 1
    world.manager.sessions().end_all("ann")
    assert counters.ended_revoked == 1
    assert (counters.created, counters.ended_replaced) == (4, 0)


def test_what_ends_a_users_sessions_is_measured_too() -> None:
    world = Users()
    world.login("ann")
    before = number_in(world.manager.counters.commit)
    world.manager.sessions().end_all("ann")
    assert number_in(world.manager.counters.commit) == before + 1
