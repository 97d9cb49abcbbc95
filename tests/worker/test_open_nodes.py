"""One table of open nodes per process, whoever asks first."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from clustersession.worker import open_nodes


def test_threads_that_race_for_the_first_request_after_a_fork_agree_on_one_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a lock each they would open the replica twice, which LMDB does not bear."""
    meeting = threading.Barrier(2, timeout=10)

    class Slow(open_nodes.OpenNodes):
        def __init__(self) -> None:
            meeting.wait()
            super().__init__()

    monkeypatch.setattr(open_nodes, "OpenNodes", Slow)
    monkeypatch.setattr(open_nodes.os, "getpid", lambda: -1)
    try:
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(lambda _: open_nodes.open_nodes(), range(2))
    finally:
        open_nodes._by_pid.pop(-1, None)
    assert first is second
