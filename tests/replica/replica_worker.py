"""Run as a process of its own by the LMDB tests: ``replica_worker.py <what> <directory> ...``."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from clustersession.core.errors import ReplicaUnusable
from clustersession.replica.opening import LmdbReplica, open_lmdb
from tests.replica.replica_checks import NODE_A, SKEW_MS, WALL_MS, check, creation, key_of, write


def opened(directory: str) -> LmdbReplica:
    return open_lmdb(
        directory, new_node=lambda: NODE_A, map_bytes=2**28, clock_skew_ms_max=SKEW_MS,
        boot_id="boot",
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
