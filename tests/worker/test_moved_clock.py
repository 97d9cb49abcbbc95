"""The clock that tests move, and which nodes have it."""

import time
from pathlib import Path

import pytest
from freezegun import freeze_time

from clustersession.settings.settings import Settings
from clustersession.settings.sources import TEST_STATE_DIR_VARIABLE
from clustersession.worker import moved_clock
from clustersession.worker.host_clock import HostClock
from clustersession.worker.run_of_tests import CONFIGURED


def test_it_believes_python_and_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moved_clock, "_ahead_ms", 0)
    clock = moved_clock.MovableClock()
    moved_clock.set_ahead(60_000)
    assert moved_clock.ahead_ms() == 60_000
    with freeze_time("2090-01-01"):
        expected_ms = time.time_ns() // 1_000_000 + 60_000
        assert clock.wall_ms() == clock.earlier_ms() == expected_ms
        assert clock.checked(4_000_000_000_000) == 4_000_000_000_000


def test_only_nodes_that_are_kept_apart_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TEST_STATE_DIR_VARIABLE, CONFIGURED)
    assert type(moved_clock.worker_clock(Settings())) is HostClock
    monkeypatch.setenv(TEST_STATE_DIR_VARIABLE, str(tmp_path / "place"))
    assert type(moved_clock.worker_clock(Settings())) is moved_clock.MovableClock
