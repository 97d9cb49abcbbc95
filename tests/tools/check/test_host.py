"""What ``clustersession check`` says about this host alone."""

import os
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from clustersession.asgi import ClusterSessionMiddleware
from clustersession.core.state import Change, Creation
from clustersession.operations.nodes import find_home
from clustersession.replica.home import NodeHome, open_node_replica
from clustersession.replica.private_directory import HeldDirectory
from clustersession.settings.settings import Settings
from clustersession.tools.check import host as check_host
from clustersession.worker.known_secrets import find_or_begin
from tests.support.processes import require_root


def test_a_directory_of_somebody_else(tmp_path: Path) -> None:
    home = NodeHome(tmp_path / "clustersession.a")
    home.directory.mkdir(mode=0o700)
    (good,) = [v for v in check_host.check_state(home, agent_runs=False) if v.check == "state"]
    assert good.level == "ok"
    home.directory.chmod(0o755)
    (loose,) = [v for v in check_host.check_state(home, agent_runs=False) if v.check == "state"]
    assert loose.level == "warning"
    require_root("giving a directory away")
    os.chown(home.directory, 12345, -1)
    (foreign,) = check_host.check_state(home, agent_runs=False)
    assert foreign.level == "problem"
    assert "belongs to user 12345" in foreign.text


def test_a_state_directory_on_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_host.directories, "file_system_of", lambda path, mounts: "nfs4")
    (found,) = check_host.check_state(NodeHome(tmp_path / "clustersession.a"), agent_runs=False)
    assert found.level == "problem"
    assert "nfs4" in found.text


def test_a_replica_is_looked_at_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = ClusterSessionMiddleware(None, state_dir=str(tmp_path), route="a")
    node.runtime.manager()
    home = find_home(node.runtime.settings)
    node.runtime.close()
    data = home.replica / "data.mdb"

    def replica() -> str:
        return next(
            v for v in check_host.check_state(home, agent_runs=False) if v.check == "replica"
        ).level.value

    assert replica() == "ok"
    os.truncate(data, 5000)
    assert replica() == "warning"
    assert data.stat().st_size == 5000


@pytest.mark.parametrize("agent_runs", [False, True])
def test_files_that_were_removed_under_a_node_are_said(tmp_path: Path, agent_runs: bool) -> None:
    node = ClusterSessionMiddleware(None, state_dir=str(tmp_path), route="a")
    node.runtime.manager()
    home = find_home(node.runtime.settings)
    try:
        (home.replica / "data.mdb").unlink()
        (found,) = [
            v for v in check_host.check_state(home, agent_runs=agent_runs) if v.check == "replica"
        ]
        assert found.level == "problem"
        assert "files (data.mdb) were removed" in found.text
        assert "end them all" in found.text
    finally:
        node.runtime.close()


def test_limits_space_and_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (64, 64))
    assert check_host.check_files([]).level == "problem"
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (512, 512))
    assert check_host.check_files([os.getpid()]).level == "warning"
    monkeypatch.setattr(check_host, "SPACE_BYTES_MIN", 2**62)
    home = NodeHome(tmp_path / "clustersession.a")
    levels = {v.check: v.level for v in check_host.check_state(home, agent_runs=False)}
    assert levels["space"] == "problem"
    assert check_host.check_frameworks().level == "ok"
    monkeypatch.setattr(check_host.metadata, "version", lambda name: "0.1")
    assert "pip install" in check_host.check_frameworks().text


def test_a_cookie_that_contradicts_itself() -> None:
    def remarks(**settings: Any) -> list[str]:
        settings = {"cookie_secure": True, **settings}
        return [v.text for v in check_host.check_cookie(Settings(**settings)) if v.level != "ok"]

    assert remarks() == []
    assert "forgets the cookie" in remarks(cookie_max_age_s=60)[0]
    assert "strict" in remarks(cookie_samesite="strict")[0]
    assert "sticky" in remarks(consistency="causal", rewrite="always")[0]
    assert "HTTPS" in remarks(cookie_secure=False)[0]


@pytest.mark.parametrize(
    ("now_s", "skews", "level"),
    [(0, {}, "problem"), (time.time(), {}, "ok"), (time.time(), {"b": 90}, "ok"),
     (time.time(), {"b": 90, "c": -5_000}, "warning"), (time.time(), {"b": 400_000}, "problem")],
    ids=["unset", "alone", "close", "apart", "far apart"],
)
def test_clocks(now_s: float, skews: dict[str, int], level: str) -> None:
    assert check_host.check_clock(now_s, skews, 300).level == level


def test_nodes_with_other_secrets_are_named(tmp_path: Path) -> None:
    bank, wiki = (
        find_or_begin(tmp_path, "shop", "a", [secret]) for secret in ("the bank's", "the wiki's")
    )
    wiki.replica.mkdir()
    (left,) = check_host.check_nodes([bank, wiki], bank)
    assert (left.level, str(wiki.directory) in left.text) == ("warning", True)
    held = HeldDirectory(wiki.replica)
    (used,) = check_host.check_nodes([bank, wiki], bank)
    assert (used.level, f"process {os.getpid()}" in used.text) == ("ok", True)
    held.close()


def test_a_state_that_goes_at_the_next_restart_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_host, "temporary_state_dir", lambda: tmp_path / "clustersession-0")
    home = NodeHome(tmp_path / "clustersession-0" / "shop.a")
    (found,) = [v for v in check_host.check_state(home, agent_runs=False) if v.check == "state"]
    assert found.level == "warning"
    assert "StateDirectory=" in found.text


def test_times_that_no_clock_has_shown_yet(tmp_path: Path) -> None:
    home, settings = NodeHome(tmp_path), Settings(map_bytes=2**26)
    assert check_host.latest_time_ms(home) == 0, "nothing is there"
    replica = open_node_replica(home, settings)
    in_2050_ms = 2_524_608_000_000
    creation = Creation(in_2050_ms, in_2050_ms + 1000, 0)
    replica.commit([Change("1" * 23, in_2050_ms, creation=creation)], in_2050_ms)
    assert check_host.latest_time_ms(home) == 0, "somebody has it open"
    replica.close()
    assert check_host.latest_time_ms(home) == in_2050_ms
    now_s = in_2050_ms / 1000 - 86_400
    (found,) = check_host.check_times(in_2050_ms, now_s, settings.stamp_lead_ms_max)
    assert found.level == "problem"
    assert "86,400 s ahead" in found.text
    assert not list(check_host.check_times(in_2050_ms, now_s + 86_000, 600_000))


def test_whether_sessions_survive_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, settings = NodeHome(tmp_path / "clustersession.a"), Settings()
    monkeypatch.setattr(check_host.directories, "file_system_here", lambda path: "ext4")
    (kept,) = check_host.check_journal(home, settings, None)
    assert (kept.level, kept.text) == ("ok", "kept on ext4, 0 bytes")
    failed = {"journal": {"failed": "No space left on device"}}
    (away,) = check_host.check_journal(home, settings, failed)
    assert (away.level, "No space" in away.text) == ("problem", True)
    monkeypatch.setattr(check_host.directories, "file_system_here", lambda path: "tmpfs")
    (volatile,) = check_host.check_journal(home, settings, None)
    assert volatile.level == "warning"
    assert [*check_host.check_journal(home, Settings(durability="none"), None)] == []
