"""The directory of a replica is ours alone, and on a disk of this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clustersession.core.errors import ReplicaUnusable
from clustersession.replica import opening
from clustersession.replica.engines.lmdb import directory as directories
from tests.replica.on_disk import opened, with_one_session


def test_directory_and_files_are_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "r"
    with_one_session(path)
    for directory in (path, path.parent, path.parent.parent):
        assert directory.stat().st_mode & 0o777 == 0o700
    for file in path.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


def test_a_directory_open_to_others_is_closed(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r").chmod(0o777)
    opened(tmp_path / "r").close()
    assert (tmp_path / "r").stat().st_mode & 0o777 == 0o700


def test_a_directory_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: 4_000_000)
        with pytest.raises(ReplicaUnusable, match="belongs to"):
            opened(tmp_path / "r")
    opened(tmp_path / "r").close()


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("")
    with pytest.raises(ReplicaUnusable):
        opened(tmp_path / "r")


def is_used_by_another(path: Path) -> bool:
    """What a process of its own finds."""
    module = directories.__name__
    code = f"import pathlib, {module} as d; print(d.is_used(pathlib.Path({str(path)!r})))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return said.stdout == "True\n"


def test_another_interpreter_of_the_process_is_kept_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a table of its own of what is open; the locks are the process's."""
    replica = opened(tmp_path / "r")
    with monkeypatch.context() as other:
        other.setattr(opening, "_open_here", {})
        for _ in range(2):
            with pytest.raises(ReplicaUnusable, match=r"add WSGIApplicationGroup %\{GLOBAL\}"):
                opened(tmp_path / "r")
        # Still counted as a user by other processes: nothing of the first one's was closed.
        assert is_used_by_another(tmp_path / "r")
    replica.close()
    with monkeypatch.context() as other:
        other.setattr(opening, "_open_here", {})
        opened(tmp_path / "r").close()


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "file_system_of", lambda path, mountinfo: "nfs4")
    with pytest.raises(ReplicaUnusable, match="nfs4"):
        opened(tmp_path / "r")


MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:50 / /srv rw,relatime - nfs4 server:/export rw
41 40 0:51 / /srv/local\\040disk rw,relatime - xfs /dev/vdb rw
42 27 0:52 / /home/user/mnt rw - fuse.sshfs user@host:/ rw
43 27 0:53 / /over rw - nfs old rw
44 43 0:54 / /over rw - tmpfs new rw
broken
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"), ("/var/lib/x", "ext4"), ("/srv", "nfs4"), ("/srv/x", "nfs4"),
        ("/srvx", "ext4"), ("/srv/local disk/x", "xfs"), ("/home/user/mnt/a/b", "fuse.sshfs"),
        ("/over/x", "tmpfs"),
    ],
)
def test_the_longest_mount_point_tells_the_file_system(path: str, kind: str) -> None:
    assert directories.file_system_of(path, MOUNTS) == kind
