"""One table of open nodes per process, whoever asks first."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clustersession.core.errors import ConfigurationError
from clustersession.worker import open_nodes
from clustersession.worker.runtime import Runtime


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


def test_an_agent_that_cannot_be_imported_here_is_refused_before_anything_is_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second interpreter of a process can import neither cryptography nor uvloop."""
    monkeypatch.setitem(sys.modules, "clustersession.worker.agent_thread", None)
    options = {"distributable": True, "agent": "thread", "bind": "127.0.0.1"}
    runtime = Runtime.from_options({**options, "state_dir": tmp_path, "multicast_address": ""})
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"agent is 'thread'.*%\{GLOBAL\}"):
            runtime.manager()
