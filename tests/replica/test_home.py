"""A node's files stand in its home, and its replica keeps its identity there."""

import stat
from pathlib import Path

import pytest

from clustersession.replica import home as module
from clustersession.replica.home import NodeHome, boot_id, open_node_replica
from clustersession.settings.settings import Settings

SETTINGS = Settings(map_bytes=2**24)


def test_two_nodes_on_one_host_have_no_file_in_common(tmp_path: Path) -> None:
    first, second = NodeHome(tmp_path / "shop.a"), NodeHome(tmp_path / "shop.b")
    files = [
        {home.replica, home.agent_lock, home.agent_socket, home.agent_log}
        for home in (first, second)
    ]
    assert len(files[0]) == 4
    assert not files[0] & files[1]
    assert all(path.is_relative_to(first.directory) for path in files[0])


def test_a_replica_keeps_its_node_id_and_its_directory_to_itself(tmp_path: Path) -> None:
    homes = [NodeHome(tmp_path / name) for name in "ab"]
    nodes = []
    for home in (homes[0], homes[0], homes[1]):
        home.directory.mkdir(mode=0o700, exist_ok=True)
        replica = open_node_replica(home, SETTINGS)
        nodes.append(replica.node)
        replica.close()
    assert nodes[0] == nodes[1] != nodes[2]
    assert stat.S_IMODE(homes[0].replica.stat().st_mode) == 0o700


def test_a_system_that_does_not_say_when_it_booted_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert boot_id() == boot_id()
    monkeypatch.setattr(module, "Path", lambda _: tmp_path / "absent")
    assert boot_id() == ""
