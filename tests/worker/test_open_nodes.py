"""One table of open nodes per process, whoever asks first."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clustersession.core.errors import ConfigurationError
from clustersession.net.agent_link import ask_once
from clustersession.wire.local import Operation
from clustersession.worker import open_nodes
from clustersession.worker.known_secrets import nodes_in
from clustersession.worker.runtime import Runtime
from tests.support.processes import free_port
from tests.worker.thread_nodes import is_alive, login


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


@pytest.mark.parametrize("distributable", [False, True])
def test_applications_of_one_process_are_apart_by_their_secrets(
    tmp_path: Path, distributable: bool
) -> None:
    common: dict[str, Any] = {
        "state_dir": str(tmp_path), "route": "web1", "distributable": distributable,
        "agent": "thread", "bind": "127.0.0.1", "multicast_address": "", "port": free_port(),
        "ack": "none", "sessions_per_principal_max": 1,
    }
    bank, wiki, bank_again = (
        Runtime.from_options({**common, "secret": secret})
        for secret in ("qT8w-Lz3Rk5_vN0xYb7d", "hV2c_Jm9Pq4-sX6zUa1f",
                       ["uX7_kq2PzN9-bR4vYt8m", "qT8w-Lz3Rk5_vN0xYb7d"])
    )
    try:
        for runtime in (bank, wiki, bank_again):
            runtime.start()
        cookie = login(bank.manager(), "1")
        assert is_alive(bank_again.manager(), cookie), "one application in the midst of a rotation"
        other = login(wiki.manager(), "1")
        assert not is_alive(wiki.manager(), cookie)
        assert is_alive(bank.manager(), cookie), "the limit is of one application"
        assert wiki.sessions().end_all("1") == 1
        assert is_alive(bank.manager(), cookie)
        assert not is_alive(wiki.manager(), other)
        if distributable:
            addresses = {
                ask_once(home.agent_socket, Operation.STATUS)["address"]
                for home in nodes_in(tmp_path, "clustersession", "web1")
            }
            assert len(addresses) == 2
    finally:
        for runtime in (bank, wiki, bank_again):
            runtime.close()


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
