"""A node's processes are found wherever they went, and nobody else's are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clustersession.tools.demo import processes
from clustersession.tools.demo.processes import (
    Program,
    StepFailed,
    accepts_connections,
    descendants,
    free_port,
    kill_node,
    node_pids,
    wait_for,
)

pytestmark = pytest.mark.system

WAIT = "import sys; print('up', flush=True); sys.stdin.read()"
DETACHING = """
import os, subprocess, sys
environment = {k: v for k, v in os.environ.items() if k != "NODE"}
for arguments in ([], [os.environ["NODE"]]):
    subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()", *arguments],
                     env=environment if arguments else None, start_new_session=True)
print("up", flush=True)
"""


@pytest.fixture
def node(tmp_path: Path) -> Path:
    directory = tmp_path / "node1"
    directory.mkdir()
    return directory


def test_detached_processes_of_a_node_are_found_and_killed(node: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", DETACHING], env={**os.environ, "NODE": str(node)}, check=True,
        stdout=subprocess.DEVNULL,
    )
    found = wait_for(lambda: len(node_pids(node)) == 2 and node_pids(node), "both processes")
    assert found
    assert sorted(kill_node(node)) == sorted(found)
    assert node_pids(node) == []


def test_one_that_a_first_look_misses_while_it_begins_is_killed_too(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", WAIT], stdin=subprocess.PIPE) as process:
        looks = iter([[], [process.pid]])
        monkeypatch.setattr(processes, "node_pids", lambda _: next(looks, []))
        assert kill_node(node) == [process.pid]


def test_a_process_that_maps_a_file_of_the_node_is_found(node: Path) -> None:
    file = node / "data.mdb"
    file.write_bytes(b"x" * 4096)
    code = "import mmap, os, sys; f = open(sys.stdin.readline().strip()); " \
        "m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); print('up', flush=True); " \
        "sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{file}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "up\n"
        assert node_pids(node) == [process.pid]
        assert kill_node(node) == [process.pid]


def test_who_looks_at_a_node_from_a_terminal_is_no_part_of_it(node: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAIT, "--state-dir", str(node), "top"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as top, subprocess.Popen(
        [sys.executable, "-c", WAIT, "--state-dir", str(node), "agent"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as agent:
        for process in (top, agent):
            assert process.stdout is not None
            process.stdout.readline()
        assert kill_node(node) == [agent.pid]
        assert top.poll() is None
        top.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_a_process_of_another_user_is_no_part_of_it(node: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAIT, str(node)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        child = os.fork()
        if child == 0:
            # Not by exec: another user need not be able to reach this interpreter.
            status = 1
            try:
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                status = len(kill_node(node, 1.0))
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert stranger.poll() is None
        stranger.kill()


def test_who_was_started_where_somebody_looked_around_is_no_part_of_it(node: Path) -> None:
    shell = {**os.environ, "PWD": str(node), "OLDPWD": str(node)}
    with subprocess.Popen(
        [sys.executable, "-c", WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=shell
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert node_pids(node) == []
        process.kill()
    with subprocess.Popen(
        [sys.executable, "-c", WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**shell, "NODE": str(node)},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert kill_node(node) == [process.pid]


def test_a_longer_name_is_another_node(node: Path) -> None:
    other = node.with_name("node10")
    with subprocess.Popen(
        [sys.executable, "-c", WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "NODE": str(other)},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert node_pids(other) == [process.pid]
        assert node_pids(node) == []
        process.kill()


def test_descendants(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        assert len(wait_for(lambda: descendants(process.pid), "a child")) == 1
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()


def test_a_program_that_ends_at_its_start_says_why(tmp_path: Path) -> None:
    program = Program([sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path / "log")
    program.start()
    with pytest.raises(StepFailed, match="no such thing"):
        program.wait_until_listening(free_port())
    program.stop()


def test_waiting_has_a_deadline() -> None:
    with pytest.raises(StepFailed, match="in vain for the moon"):
        wait_for(lambda: False, "the moon", deadline_s=0.05)
    assert not accepts_connections(free_port())
