"""What only a replica on disk can get wrong: processes, forks, crashes, full and foreign disks."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clustersession.core.errors import ReplicaFull, ReplicaUnusable
from clustersession.core.state import SessionState
from clustersession.replica.engines.lmdb import directory as directories
from clustersession.replica.engines.lmdb.engine import LmdbEngine
from clustersession.replica.opening import LmdbReplica, open_lmdb
from tests.replica.replica_checks import (
    NODE_A,
    NODE_B,
    SKEW_MS,
    WALL_MS,
    check,
    creation,
    key_of,
    write,
)

WORKER = ("-m", "tests.replica.replica_worker")


def opened(
    path: Path, *, node: bytes = NODE_A, map_bytes: int = 2**28, boot_id: str = "boot"
) -> LmdbReplica:
    return open_lmdb(
        path, new_node=lambda: node, map_bytes=map_bytes, clock_skew_ms_max=SKEW_MS,
        boot_id=boot_id,
    )


def start(what: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", *WORKER, what, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )


def finish(process: "subprocess.Popen[str]") -> None:
    output, _ = process.communicate(timeout=40)
    assert process.returncode == 0, output


def with_one_session(path: Path) -> None:
    replica = opened(path)
    replica.commit([creation(1, {"a": b"1"})], WALL_MS)
    replica.close()


def test_contents_and_identity_survive_closing(tmp_path: Path) -> None:
    with_one_session(tmp_path / "r")
    again = opened(tmp_path / "r", node=NODE_B)
    assert again.node == NODE_A
    assert again.head() == 1
    assert again.set_aside is None
    check(again)
    again.close()


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


def test_opening_twice_in_one_process_is_refused(tmp_path: Path) -> None:
    first = opened(tmp_path / "r")
    (tmp_path / "link").symlink_to(tmp_path / "r")
    for path in (tmp_path / "r", tmp_path / "link"):
        with pytest.raises(ReplicaUnusable, match="already open"):
            opened(path)
    first.commit([creation(1)], WALL_MS)
    first.close()
    opened(tmp_path / "r").close()


def spoil_with_garbage(path: Path) -> None:
    (path / "data.mdb").write_bytes(b"garbage" * 5000)


def spoil_head(path: Path) -> None:
    replica = opened(path)
    with replica._engine.write() as transaction:
        transaction.put(6, b"head", b"short")
    replica.close()


def spoil_by_losing_the_head(path: Path) -> None:
    replica = opened(path)
    with replica._engine.write() as transaction:
        transaction.clear(6)
    replica.close()


def spoil_by_losing_the_boot_note(path: Path) -> None:
    (path / "boot").unlink()


def spoil_boot_note(path: Path) -> None:
    (path / "boot").write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_with_garbage, spoil_head, spoil_by_losing_the_head, spoil_by_losing_the_boot_note,
        spoil_boot_note,
    ],
)
def test_what_is_damaged_is_set_aside(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = tmp_path / "r"
    for round_ in (1, 2):
        with_one_session(path)
        spoil(path)
        fresh = opened(path, node=NODE_B)
        assert (fresh.node, fresh.head(), fresh.get(key_of(1))) == (NODE_B, 0, None)
        assert fresh.set_aside == tmp_path / f"r.corrupt-{round_}"
        fresh.close()
        assert [p.name for p in tmp_path.glob("*corrupt*")] == [f"r.corrupt-{round_}"]


def rewrite_head(path: Path, change: Callable[[bytes], bytes]) -> None:
    replica = opened(path)
    with replica._engine.write() as transaction:
        transaction.put(6, b"head", change(transaction.get(6, b"head")))
    replica.close()


def test_what_a_newer_version_left_is_kept_for_its_return(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "r"
    with_one_session(path)
    rewrite_head(path, lambda head: b"\x02" + head[1:] + b"and more")
    older = opened(path, node=NODE_B)
    assert (older.node, older.head(), older.set_aside) == (NODE_B, 0, tmp_path / "r.newer-1")
    older.close()
    assert "is of a newer version (the replica has layout 2, this version reads 1)" in caplog.text
    spoil_with_garbage(path)
    opened(path).close()
    shutil.rmtree(path)
    (tmp_path / "r.newer-1").rename(path)
    engine = LmdbEngine(path, 2**28)
    with engine.write() as transaction:
        head = transaction.get(6, b"head")
        assert head[:1] == b"\x02"
        transaction.put(6, b"head", b"\x01" + head[1:].removesuffix(b"and more"))
    engine.close()
    newer = opened(path, boot_id="next boot")
    assert (newer.node, newer.head(), newer.set_aside) == (NODE_A, 1, None)
    newer.close()


def test_what_a_newer_version_has_open_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "r"
    with_one_session(path)
    other = start("holds_open", path)
    assert other.stdout.readline() == "open\n"
    rewrite_head(path, lambda head: b"\x02" + head[1:])
    with pytest.raises(ReplicaUnusable, match=r"layout 2.*have .*/r open: stop them, the agent"):
        opened(path, node=NODE_B)
    finish(other)
    older = opened(path, node=NODE_B)
    assert older.set_aside == tmp_path / "r.newer-1"
    older.close()


def test_what_a_crashed_machine_left_is_set_aside(tmp_path: Path) -> None:
    with_one_session(tmp_path / "r")
    after = opened(tmp_path / "r", node=NODE_B, boot_id="next boot")
    assert (after.node, after.head()) == (NODE_B, 0)
    assert after.set_aside is not None
    after.close()


def test_what_was_closed_cleanly_survives_a_boot_once(tmp_path: Path) -> None:
    with_one_session(tmp_path / "r")
    replica = opened(tmp_path / "r")
    assert replica.mark_clean()
    replica.close()
    after = opened(tmp_path / "r", boot_id="second boot")
    assert (after.node, after.head(), after.set_aside) == (NODE_A, 1, None)
    after.close()
    assert opened_and_closed_set_aside(tmp_path / "r", "third boot")


def opened_and_closed_set_aside(path: Path, boot_id: str) -> bool:
    replica = opened(path, boot_id=boot_id)
    replica.close()
    return replica.set_aside is not None


def test_only_the_last_user_marks_it_clean(tmp_path: Path) -> None:
    other = start("holds_open", tmp_path / "r")
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    replica = opened(tmp_path / "r")
    assert not replica.mark_clean()
    finish(other)
    assert opened(tmp_path / "r").mark_clean()


def test_a_full_map_changes_nothing_and_room_is_found_again(tmp_path: Path) -> None:
    replica = opened(tmp_path / "r", map_bytes=2**20)
    replica.commit([creation(0)], WALL_MS)
    committed = 0

    def fill() -> None:
        nonlocal committed
        for number in range(1, 1000):
            replica.commit([creation(number, {"v": bytes(4000)})], WALL_MS)
            committed = number

    with pytest.raises(ReplicaFull):
        fill()
    assert committed > 20
    check(replica)
    assert (replica.head(), replica.get(key_of(committed + 1))) == (committed + 1, None)
    with pytest.raises(ReplicaFull):
        replica.merge([(key_of(n), replica_copy(replica)) for n in range(2000, 3000)], WALL_MS)
    check(replica)
    used, limit = replica.stats().bytes_used, replica.stats().bytes_max
    assert 0 < used <= limit == 2**20
    assert replica.sweep(WALL_MS + 10**10, 10) == 10
    assert replica.commit([creation(5000)], WALL_MS).effective
    check(replica)
    replica.close()


@pytest.mark.parametrize("room", [0, 2000, 6000])
def test_a_disk_that_fills_up_in_the_middle_of_a_commit_is_full(
    tmp_path: Path, room: int
) -> None:
    replica = opened(tmp_path / "r")
    replica.commit([creation(0)], WALL_MS)
    size = (tmp_path / "r" / "data.mdb").stat().st_size
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
    try:
        with pytest.raises(ReplicaFull):
            replica.commit([creation(1, {"v": bytes(20_000)})], WALL_MS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    assert replica.commit([creation(2, {"v": bytes(20_000)})], WALL_MS).effective
    check(replica)
    replica.close()


def replica_copy(replica: LmdbReplica) -> SessionState:
    state = replica.get(key_of(1))
    assert state is not None
    return state


def test_two_processes_commit_at_once(tmp_path: Path) -> None:
    replica = opened(tmp_path / "r")
    replica.commit([creation(n) for n in range(5)], WALL_MS)
    writers = [start("commits", tmp_path / "r", name, 1500) for name in ("left", "right")]
    for number in range(500):
        replica.commit([write(number % 5, middle=b"%d" % number)], WALL_MS)
    for writer in writers:
        finish(writer)
    assert replica.head() == 5 + 1500 + 1500 + 500
    for number in range(5):
        state = replica.get(key_of(number))
        assert state is not None
        assert state.registers["left"].value == state.registers["right"].value
        assert state.registers["left"].value == b"%d" % (1495 + number)
        assert state.registers["middle"].value == b"%d" % (495 + number)
    check(replica)
    replica.close()


def test_a_writer_killed_anywhere_leaves_a_whole_replica(tmp_path: Path) -> None:
    replica = opened(tmp_path / "r")
    head = 0
    for round_ in range(6):
        writer = start("commits_for_ever", tmp_path / "r")
        assert writer.stdout is not None
        for _ in range(2 + 3 * round_):
            assert writer.stdout.readline().strip().isdigit()
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate(timeout=10)
        replica.commit([creation(10**6 + round_)], WALL_MS)
        check(replica)
        assert replica.head() > head
        head = replica.head()
    replica.reader_check()
    replica.close()


@pytest.mark.parametrize("what", ["forks", "forks_while_busy"])
def test_the_child_of_a_fork_opens_its_own(tmp_path: Path, what: str) -> None:
    finish(start(what, tmp_path / "r"))


def test_readers_killed_do_not_use_up_the_slots(tmp_path: Path) -> None:
    replica = opened(tmp_path / "r")
    replica.commit([creation(1)], WALL_MS)
    for _ in range(3):
        reader = start("reads_for_ever", tmp_path / "r")
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        os.kill(reader.pid, signal.SIGKILL)
        reader.communicate(timeout=10)
        assert replica.reader_check() == 1
    replica.close()


def test_damage_found_while_in_use_is_set_aside_at_the_next_opening(tmp_path: Path) -> None:
    path = tmp_path / "r"
    replica = opened(path)
    replica.commit([creation(n, {"v": bytes(500)}) for n in range(200)], WALL_MS)
    size = (path / "data.mdb").stat().st_size
    with (path / "data.mdb").open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xff" * (size - 2 * 4096))
    with pytest.raises(ReplicaUnusable):
        replica.commit([creation(1000)], WALL_MS)
    replica.close()
    fresh = opened(path, node=NODE_B)
    assert fresh.set_aside is not None
    fresh.close()


LIMITED = """
import re, resource, sys
from pathlib import Path
from clustersession.core.errors import ReplicaUnusable
from clustersession.replica.opening import open_lmdb

def opened(map_bytes):
    return open_lmdb(
        Path(sys.argv[1]), new_node=lambda: b"nodenode", map_bytes=map_bytes,
        clock_skew_ms_max=300_000, boot_id="boot",
    )

resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30))
try:
    opened(16 * 2**30)
except ReplicaUnusable as error:
    print(error)
    opened(int(re.search(r"may map (\\d+) bytes", str(error))[1]) // 2).close()
"""


def test_a_limit_of_address_space_is_named_with_what_fits(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "replica")],
        capture_output=True, text=True, check=False, timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert f"map_bytes is {16 * 2**30}" in done.stdout
    assert "ulimit -v" in done.stdout
