"""An agent is started, again where it found its predecessor, and never at the cost of a worker."""

import time
from pathlib import Path

import pytest

from clustersession.replica.home import NodeHome
from clustersession.settings.settings import Settings
from clustersession.worker import launch


def test_a_directory_that_cannot_be_written_is_no_exception(tmp_path: Path) -> None:
    home = NodeHome(tmp_path / "gone")
    settings = Settings(distributable=True, route="a")
    assert launch.start_agent(settings, home) is False


def test_an_agent_that_found_its_predecessor_leaving_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned: list[float] = []
    monkeypatch.setattr(launch, "_spawn", lambda settings, home: spawned.append(time.monotonic()))
    monkeypatch.setattr(launch, "_is_up", lambda home: len(spawned) >= 2)
    monkeypatch.setattr(launch, "SPAWN_INTERVAL_S", 0.05)
    settings = Settings(distributable=True, route="a")
    assert launch.start_agent(settings, NodeHome(tmp_path))
    assert len(spawned) == 2
