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
    monkeypatch.setattr(places, "is_test_run", lambda: False)
    for name in ("XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    assert places.user_state_dir().name == f"clustersession-{os.getuid()}"
    monkeypatch.setenv("HOME", "/nonexistent")
    assert places.user_state_dir().name == f"clustersession-{os.getuid()}"


def test_a_service_of_systemd_keeps_its_state_where_its_unit_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "is_test_run", lambda: False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/shop:/var/lib/other")
    assert places.user_state_dir() == Path("/var/lib/shop/clustersession")
    monkeypatch.setenv("XDG_STATE_HOME", "/srv/state")
    assert places.user_state_dir() == Path("/srv/state/clustersession")


def test_under_pytest_the_users_own_state_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    place = places.user_state_dir()
    assert place.is_dir()
    assert place.name.startswith("clustersession-tests-")
    assert places.user_state_dir() == place, "all of a process have one place"
    secret = ("a secret of sixteen",)
    assert places.node_home(Settings(secret=secret)).directory.parent == place
    assert not list(tmp_path.iterdir())
    place_given = Settings(state_dir=str(tmp_path / "given"), secret=secret)
    assert places.node_home(place_given).directory.parent == tmp_path / "given"


def test_a_server_keeps_its_state_in_its_users_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "is_test_run", lambda: False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places.user_state_dir() == tmp_path / ".local" / "state" / "clustersession"
