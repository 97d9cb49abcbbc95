"""Where a node's files are, whatever the user and the cluster are called."""

import os
from pathlib import Path

import pytest

from clustersession.settings.settings import Settings
from clustersession.worker import places


def test_a_cluster_name_leads_out_of_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    odd = Settings(cluster_name="..", secret=("a secret of sixteen",))
    assert places.node_home(odd).directory.parent == tmp_path / "clustersession"


def test_without_a_home_the_state_is_in_the_temporary_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    assert places.user_state_dir().name == f"clustersession-{os.getuid()}"
    monkeypatch.setenv("HOME", "/nonexistent")
    assert places.user_state_dir().name == f"clustersession-{os.getuid()}"


def test_a_service_of_systemd_keeps_its_state_where_its_unit_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/shop:/var/lib/other")
    assert places.user_state_dir() == Path("/var/lib/shop/clustersession")
    monkeypatch.setenv("XDG_STATE_HOME", "/srv/state")
    assert places.user_state_dir() == Path("/srv/state/clustersession")
