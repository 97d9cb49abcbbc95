"""What is written is on the disk before it has its name, and the name before anybody goes on."""

import os
from pathlib import Path

import pytest

from clustersession.replica.lasting_files import replace_text


def test_a_text_takes_the_place_of_another_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    for text in ("one\n", "another\n"):
        replace_text(path, text)
        assert path.read_text() == text
    assert path.stat().st_mode & 0o077 == 0
    assert os.listdir(tmp_path) == ["mark"]


def test_the_text_is_on_the_disk_before_the_name_and_the_name_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "mark", list[str]()
    sync = os.fsync

    def noting(descriptor: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        synced.append(f"{name}, {path.exists()}")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    replace_text(path, "one\n")
    assert synced == ["mark.new, False", f"{tmp_path.name}, True"]
