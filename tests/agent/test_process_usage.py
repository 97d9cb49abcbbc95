"""What a process tells of itself is its own, and what the system hides is left out."""

import os
from pathlib import Path

import pytest

from clustersession.agent import process_usage


def test_open_files_and_time_are_seen() -> None:
    before = process_usage.usage()
    descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
    after = process_usage.usage()
    for descriptor in descriptors:
        os.close(descriptor)
    assert after["fds"] == before["fds"] + 3
    assert after["cpu_s"] >= before["cpu_s"]
    assert after["resident_bytes"] > 2**20
    assert after["started_ms"] == before["started_ms"]


def test_without_proc_the_rest_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process_usage, "_PROC", tmp_path)
    found = process_usage.usage()
    assert not {"fds", "resident_bytes"} & set(found)
    assert {"started_ms", "cpu_s", "fds_max"} <= set(found)
