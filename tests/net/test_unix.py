"""Unix sockets at long paths, and links that notice when the agent goes."""

import stat
from pathlib import Path

import pytest

from clustersession.net.agent_link import BlockingLink
from clustersession.net.unix import connect_unix, listen_unix
from clustersession.wire.local import Operation
from tests.net.unix_agent import EchoAgent


def long_path(base: Path) -> Path:
    directory = base / ("d" * 120)
    directory.mkdir()
    return directory / "agent.sock"


def test_a_path_longer_than_the_system_allows_works(tmp_path: Path) -> None:
    path = long_path(tmp_path)
    agent = EchoAgent(path)
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        link = BlockingLink(path)
        assert link.ask(Operation.STATUS, "x", timeout_s=5) == ["x"]
        link.close()
    finally:
        agent.close()


def test_a_leftover_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    listen_unix(path).close()
    with pytest.raises(OSError):
        connect_unix(path, 1.0)
    sock = listen_unix(path)
    connect_unix(path, 1.0).close()
    sock.close()
