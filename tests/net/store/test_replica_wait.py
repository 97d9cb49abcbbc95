"""Replicas that let a write wait in vain keep nobody else waiting."""

import time

from clustersession.net.store.replica_wait import (
    PATIENCE_MS,
    PAUSE_S,
    PAUSE_S_MAX,
    ReplicaWait,
)
from clustersession.node.store_calls import Merge, Read
from tests.net.store.owner import connected, state
from tests.store.servers import Server

FETCH_TIMEOUT_S = 0.25


def test_who_was_waited_for_in_vain_is_waited_for_now_and_then() -> None:
    wait = ReplicaWait()
    assert [wait.patience_ms(at) for at in (0.0, 0.1)] == [PATIENCE_MS, PATIENCE_MS]
    wait.answered(False, 0.2)
    assert wait.patience_ms(0.3) == 0
    wait.answered(False, 0.3)
    assert wait.patience_ms(0.2 + PAUSE_S) == PATIENCE_MS
    # One tries; what follows it does not wait for how that ends.
    assert wait.patience_ms(0.2 + PAUSE_S) == 0
    assert wait.patience_ms(0.2 + 2.9 * PAUSE_S) == 0
    assert wait.patience_ms(0.2 + 3 * PAUSE_S) == PATIENCE_MS


def test_pauses_are_bounded_and_end_when_replicas_hold_a_write() -> None:
    wait, now_s = ReplicaWait(), 0.0
    for _ in range(20):
        wait.answered(False, now_s)
        now_s += PAUSE_S_MAX
        assert wait.patience_ms(now_s) == PATIENCE_MS
    wait.answered(True, now_s)
    assert wait.patience_ms(now_s) == PATIENCE_MS
    assert wait.patience_ms(now_s) == PATIENCE_MS


async def test_sessions_are_found_in_time_though_a_replica_is_missing(empty: Server) -> None:
    """A connection carries out nothing else while a write waits for replicas."""
    async with connected(empty.url, replicas=1) as owner:
        await owner.ask(Merge("k", state(), True))
        for at in range(2, 12):
            for key in ("a", "b", "c"):
                owner.send(Merge(key, state(at=at), True))
            began_s = time.monotonic()
            assert await owner.ask(Read("k")) == [state()]
            assert time.monotonic() - began_s < FETCH_TIMEOUT_S
