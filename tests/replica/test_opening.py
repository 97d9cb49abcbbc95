"""What a replica on disk is opened from: healthy, damaged, of another version or another boot."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clustersession.core.errors import ReplicaUnusable
from clustersession.replica.engines.lmdb.engine import LmdbEngine
from tests.replica.on_disk import finish, opened, start, with_one_session
from tests.replica.replica_checks import NODE_A, NODE_B, WALL_MS, check, creation, key_of


def test_contents_and_identity_survive_closing(tmp_path: Path) -> None:
    with_one_session(tmp_path / "r")
    again = opened(tmp_path / "r", node=NODE_B)
    assert again.node == NODE_A
    assert again.head() == 1
    assert again.set_aside is None
    check(again)
    again.close()


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


@pytest.mark.parametrize("removed", [("boot",), ("boot", "data.mdb"), ("lock.mdb",)])
def test_a_replica_that_is_used_is_never_set_aside(
    tmp_path: Path, removed: tuple[str, ...]
) -> None:
    with_one_session(tmp_path / "r")
    user = start("hold", tmp_path / "r")
    assert user.stdout is not None
    assert user.stdout.readline() == "open\n"
    for name in removed:
        (tmp_path / "r" / name).unlink()
    (tmp_path / "r.lock").unlink()
    if removed == ("boot",):
        replica = opened(tmp_path / "r")
        assert (replica.set_aside, replica.stats().sessions) == (None, 1)
        replica.close()
    else:
        with pytest.raises(ReplicaUnusable, match="while processes use them"):
            opened(tmp_path / "r")
    finish(user)
    assert [path.name for path in tmp_path.iterdir() if ".corrupt" in path.name] == []
