"""A node's directories: nobody else's, wherever they are, and known to be in use."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from clustersession.core.errors import ReplicaUnusable
from clustersession.replica.private_directory import (
    HeldDirectory,
    check_way,
    make_private,
    private_opener,
)
from clustersession.tools.demo.processes import wait_for

OTHER = 65_532


@pytest.fixture
def anybodys(tmp_path: Path) -> Path:
    """Stands for the system's temporary directory."""
    path = tmp_path / "tmp"
    path.mkdir()
    path.chmod(0o1777)
    return path


def as_other(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to make files of another user")
    os.lchown(path, OTHER, OTHER)


def test_what_is_missing_is_made_for_us_alone(tmp_path: Path) -> None:
    make_private(tmp_path / "a" / "b")
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_link_of_another_user_is_not_followed(anybodys: Path, tmp_path: Path) -> None:
    target = tmp_path / "web"
    target.mkdir(mode=0o755)
    planted = anybodys / "clustersession-0"
    planted.symlink_to(target)
    as_other(planted)
    for path in (planted, planted / "clustersession.web1"):
        with pytest.raises(ReplicaUnusable, match=f"made by user {OTHER}"):
            make_private(path)
    assert target.stat().st_mode & 0o777 == 0o755
    assert not list(target.iterdir())


def test_nor_one_in_a_directory_of_his_own(tmp_path: Path) -> None:
    home, target = tmp_path / "home", tmp_path / "web"
    home.mkdir(mode=0o755)
    target.mkdir()
    (home / ".local").symlink_to(target)
    for path in (home, home / ".local"):
        as_other(path)
    with pytest.raises(ReplicaUnusable, match=f"made by user {OTHER}, and is a link"):
        make_private(home / ".local" / "state")
    assert not list(target.iterdir())


def test_nor_one_behind_a_link_of_our_own(anybodys: Path, tmp_path: Path) -> None:
    planted = anybodys / "planted"
    planted.symlink_to(tmp_path)
    as_other(planted)
    (tmp_path / "ours").symlink_to(anybodys / "x" / ".." / "planted")
    (anybodys / "x").mkdir()
    with pytest.raises(ReplicaUnusable, match="made by user"):
        make_private(tmp_path / "ours" / "state")


def test_a_directory_of_another_user_is_refused(anybodys: Path) -> None:
    planted = anybodys / "clustersession-0"
    planted.mkdir()
    as_other(planted)
    with pytest.raises(ReplicaUnusable, match="made by user"):
        make_private(planted / "node")


def test_links_of_ours_lead_to_a_directory_and_stand_for_none(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "state").symlink_to("disk")
    make_private(tmp_path / "state" / "node")
    assert (tmp_path / "disk" / "node").is_dir()
    (tmp_path / "disk" / "other").symlink_to(tmp_path)
    with pytest.raises(ReplicaUnusable, match="link"):
        make_private(tmp_path / "state" / "other")
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(ReplicaUnusable, match="too many"):
        check_way(tmp_path / "round" / "x")


def test_what_others_could_have_written_is_not_taken_over(tmp_path: Path) -> None:
    open_to_all = tmp_path / "node"
    open_to_all.mkdir()
    (open_to_all / "agent.log").symlink_to("/etc/passwd")
    open_to_all.chmod(0o777)
    with pytest.raises(ReplicaUnusable, match="everybody could write"):
        make_private(open_to_all)
    (open_to_all / "agent.log").unlink()
    make_private(open_to_all)
    assert open_to_all.stat().st_mode & 0o777 == 0o700


def test_one_that_holds_it_knows_whether_others_do(tmp_path: Path) -> None:
    first = HeldDirectory(tmp_path)
    assert first.is_alone()
    second = HeldDirectory(tmp_path)
    assert not first.is_alone()
    assert not second.is_alone()
    second.close()
    second.close()
    assert not second.is_alone()
    assert first.is_alone()
    assert first.is_alone(), "asking gives nothing up"
    first.close()


@pytest.fixture
def child() -> Iterator[list[int]]:
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_a_child_of_a_fork_does_not_hold_it(tmp_path: Path, child: list[int]) -> None:
    held = HeldDirectory(tmp_path)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, b"x")
        os.read(os.pipe()[0], 1)
    child.append(pid)
    os.read(reading, 1)
    held.close()
    probe = HeldDirectory(tmp_path)
    wait_for(probe.is_alone, "the child to have let go")
    probe.close()


def test_a_cleaner_of_old_files_passes_by(anybodys: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("systemd-tmpfiles") is None:
        pytest.skip("needs root and systemd-tmpfiles")
    (tmp_path / "conf").write_text(f"d {anybodys} 1777 root root 0\n")
    files = []
    for name in ("held", "left"):
        (anybodys / name / "deep").mkdir(parents=True)
        files.append(anybodys / name / "deep" / "data.mdb")
        files[-1].write_text("old")
    held = HeldDirectory(anybodys / "held")
    subprocess.run(["systemd-tmpfiles", "--clean", str(tmp_path / "conf")], check=True)
    assert [file.exists() for file in files] == [True, False]
    held.close()
    subprocess.run(["systemd-tmpfiles", "--clean", str(tmp_path / "conf")], check=True)
    assert not files[0].exists()


def test_files_are_opened_for_this_user_and_never_by_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    with open(path, "w", opener=private_opener) as file:
        file.write("ours")
    assert path.stat().st_mode & 0o777 == 0o600
    with open(path, opener=private_opener) as file:
        assert file.read() == "ours"
    link.symlink_to(path)
    for mode in ("r", "w"):
        with pytest.raises(OSError, match="symbolic links"):
            open(link, mode, opener=private_opener)  # noqa: SIM115
    assert path.read_text() == "ours"
