"""Run as a process of its own by the LMDB tests: ``replica_worker.py <what> <directory> ...``."""

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from clustersession.core.errors import ReplicaFull, ReplicaUnusable
from clustersession.replica.opening import LmdbReplica, open_lmdb
from tests.replica.replica_checks import (
    NODE_A,
    SKEW_MS,
    WALL_MS,
    check,
    creation,
    end,
    key_of,
    write,
)


def opened(directory: str, map_bytes: int = 2**28, *, mapped: bool = False) -> LmdbReplica:
    return open_lmdb(
        directory, new_node=lambda: NODE_A, map_bytes=map_bytes, clock_skew_ms_max=SKEW_MS,
        boot_id="boot", mapped=mapped,
    )


def commits(directory: str, name: str, count: str) -> None:
    """Write one attribute of shared sessions, again and again; say so when done."""
    replica = opened(directory)
    for number in range(int(count)):
        replica.commit([write(number % 5, **{name: b"%d" % number})], WALL_MS)
    replica.close()


def commits_for_ever(directory: str) -> None:
    """Write until killed; say once when begun."""
    replica = opened(directory)
    number = replica.head()
    while True:
        number += 1
        replica.commit([creation(number), write(number % 7, x=b"%d" % number)], WALL_MS)
        if number % 5 == 0:
            replica.sweep(WALL_MS, 1)
        if number % 10 == 0:
            print(number, flush=True)


def maps_for_ever(directory: str, map_bytes: str) -> None:
    """Write through the map until killed; say once when begun."""
    replica = opened(directory, int(map_bytes), mapped=True)
    number = replica.head()
    for round_ in itertools.count():
        number += 1
        key = key_of(number % 7)
        if round_ % 10 == 0:
            replica.commit([creation(n) for n in range(7) if replica.get(key_of(n)) is None],
                           WALL_MS)
            replica.commit([creation(number, {"v": bytes(number * 37 % 6000)})], WALL_MS)
            replica.sweep(WALL_MS, 3)
        replica.get(key)
        replica.commit([write(number % 7, x=b"%d" % number)], WALL_MS)
        if round_ == 20:
            print(number, flush=True)


def commits_large(directory: str, map_bytes: str) -> None:
    """Make the file some mebibytes longer, as an agent does."""
    replica = opened(directory, int(map_bytes))
    for number in range(200):
        replica.commit([creation(number, {"v": bytes(40_000)})], WALL_MS)
    replica.close()


def fills_through_the_map(directory: str, carelessly: str = "") -> None:
    """Use up a small disk beside somebody who fills it too, in steps of all sizes."""
    disk = Path(directory)
    replica = opened(str(disk / "r"), 2**34, mapped=True)
    assert replica._lmdb.is_mapped
    # What is kept for ends is allocated as well, and not what is tested here.
    replica._lmdb.reserve.admits = lambda *_: True  # type: ignore[method-assign]
    if carelessly:
        # As LMDB does it by itself.
        ahead = replica._lmdb._ahead
        assert ahead is not None
        ahead._allocated = 2**40
    for number in range(50):
        replica.commit([creation(number)], WALL_MS)
    number = 50
    full = 0
    with (disk / "filling").open("wb", buffering=0) as filling:
        while full < 20:
            try:
                filling.write(bytes(30_000))
            except OSError:
                pass
            try:
                size = (1, 300, 3000, 50_000)[number % 4]
                replica.commit([creation(number, {"v": bytes(size)})], WALL_MS)
                number += 1
            except ReplicaFull:
                full += 1
    for ended in range(50):
        assert replica.commit([end(ended)], WALL_MS).effective
    check(replica)
    replica.close()


def holds_open(directory: str) -> None:
    """Keep the replica open until standard input ends."""
    replica = opened(directory)
    print("open", flush=True)
    sys.stdin.read()
    replica.close()


def reads_for_ever(directory: str) -> None:
    """Sit in a reading transaction until killed."""
    with opened(directory)._engine.read() as transaction:
        transaction.count(0)
        print("reading", flush=True)
        sys.stdin.read()


def in_child(work: Callable[[], None]) -> None:
    """Run in a forked child, and fail when it fails."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(f"child failed: {error!r}", flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0


def forks(directory: str) -> None:
    """Parent and children take turns, each with an environment of its own."""
    parent = opened(directory)
    parent.commit([creation(n) for n in range(5)], WALL_MS)
    parent.get(key_of(1))

    def child(round_: int) -> None:
        replica = opened(directory)
        assert replica.head() == 5 + 2 * round_
        replica.commit([write(1, child=b"%d" % round_)], WALL_MS)

        def grandchild() -> None:
            mine = opened(directory)
            mine.commit([write(1, grandchild=b"%d" % round_)], WALL_MS)
            mine.close()

        if round_ == 2:
            in_child(grandchild)
        replica.get(key_of(1))
        replica.close()

    for round_ in range(3):
        in_child(lambda round_=round_: child(round_))
        parent.commit([write(1, parent=b"%d" % round_)], WALL_MS)
        check(parent)
    # The record lock of the parent must have survived the closing in its children: the slot of a
    # live reader is not mistaken for that of a dead process.
    with parent._engine.read() as reader:
        in_other_process(directory)
        assert reader.count(0) == 5
    state = parent.get(key_of(1))
    assert state is not None
    values = {name: register.value for name, register in state.registers.items()}
    assert (values["child"], values["grandchild"], values["parent"]) == (b"2", b"2", b"2")
    parent.close()
    opened(directory).close()


def in_other_process(directory: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.replica.replica_worker", "checks_readers", directory],
        capture_output=True, text=True, timeout=30, check=False,
    )
    assert done.stdout.strip() == "0", done.stdout + done.stderr


def checks_readers(directory: str) -> None:
    """Say how many stale readers there were."""
    replica = opened(directory)
    print(replica.reader_check())
    replica.commit([write(1, other=b"x")], WALL_MS)
    replica.close()


def hold(directory: str) -> None:
    """Have the replica open until standard input ends."""
    replica = opened(directory)
    print("open", flush=True)
    sys.stdin.read()
    replica.close()


def forks_while_busy(directory: str) -> None:
    """A fork while another thread is in a transaction is refused clearly, and harms nobody."""
    parent = opened(directory)
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with parent._engine.write():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(10)

    def child() -> None:
        for _ in range(2):
            with pytest.raises(ReplicaUnusable, match="forked"):
                opened(directory)

    in_child(child)
    leave.set()
    thread.join()
    parent.commit([creation(1)], WALL_MS)
    in_child(lambda: opened(directory).close())
    parent.commit([write(1, x=b"1")], WALL_MS)
    check(parent)
    parent.close()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
