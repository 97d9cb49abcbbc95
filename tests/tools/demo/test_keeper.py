"""What a killed demo has started is ended, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from clustersession.tools.demo.keeper import kept
from clustersession.tools.demo.processes import node_pids, wait_for

pytestmark = pytest.mark.system

CHILD = "import signal; print('up', flush=True); signal.pause()"
DEMO = f"""
import os, subprocess, sys
from pathlib import Path
from clustersession.tools.demo.keeper import kept
with kept(Path(sys.argv[1])):
    subprocess.Popen([sys.executable, "-c", {CHILD!r}, sys.argv[1] + "/x"], start_new_session=True,
                     stdout=subprocess.DEVNULL)
    print("up", flush=True)
    sys.stdin.read()
"""


def test_after_kill_9_no_process_and_no_file_is_left(tmp_path: Path) -> None:
    directory, other = tmp_path / "demo", tmp_path / "demo2"
    for place in (directory, other):
        place.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(other)], stdout=subprocess.PIPE
    ) as stranger, subprocess.Popen(
        [sys.executable, "-c", DEMO, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as demo:
        assert demo.stdout is not None
        assert stranger.stdout is not None
        assert demo.stdout.readline() == stranger.stdout.readline() == b"up\n"
        # The demo, its child and the keeper.
        assert len(node_pids(directory)) == 3
        demo.kill()
        wait_for(lambda: not node_pids(directory) and not directory.exists(), "all to be cleared")
        assert stranger.poll() is None
        stranger.kill()


def test_a_demo_that_ends_by_itself_ends_its_keeper(tmp_path: Path) -> None:
    with kept(tmp_path / "demo"):
        wait_for(lambda: len(node_pids(tmp_path / "demo")) == 1, "the keeper")
    assert node_pids(tmp_path / "demo") == []
