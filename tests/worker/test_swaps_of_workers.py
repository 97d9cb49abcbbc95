"""Workers of a host that swap one value: each of its steps is taken by exactly one of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clustersession.tools.demo.processes import wait_for
from clustersession.worker.runtime import Runtime
from tests.support.apps import ROOT
from tests.worker.thread_nodes import login, opened, running_nodes

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

STEPS = 400
SECRET = "s" * 32


def begun_with(runtime: Runtime) -> str:
    """A stored session at the first step; its cookie."""
    cookie = login(runtime.manager(), "ann")
    assert opened(runtime.manager(), cookie).swap("step", None, 0)
    return cookie


def worker(directory: Path, cookie: str) -> "subprocess.Popen[str]":
    environment = {
        **os.environ, "CLUSTERSESSION_STATE_DIR": str(directory), "CLUSTERSESSION_SECRET": SECRET,
        "CLUSTERSESSION_ROUTE": "node1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.worker.swapping_worker", cookie, str(STEPS)], cwd=ROOT,
        env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )


def test_each_step_has_one_winner_among_the_threads_of_two_workers(tmp_path: Path) -> None:
    runtime = Runtime.from_options(
        {"state_dir": str(tmp_path), "secret": SECRET, "route": "node1"}
    )
    try:
        cookie = begun_with(runtime)
        workers = [worker(tmp_path, cookie) for _ in range(2)]
        for one in workers:
            assert one.stdout is not None
            assert one.stdout.readline() == "\n"
        for one in workers:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        taken = [json.loads(one.communicate(timeout=60)[0]) for one in workers]
        assert sorted(taken[0] + taken[1]) == list(range(STEPS))
        assert opened(runtime.manager(), cookie)["step"] == STEPS
    finally:
        runtime.close()


def test_what_one_node_swapped_the_other_is_told_of(tmp_path: Path) -> None:
    with running_nodes(tmp_path, 2) as (here, there):
        cookie = begun_with(here)
        wait_for(lambda: not opened(there.manager(), cookie).new, "the session")
        late = opened(there.manager(), cookie)
        assert opened(here.manager(), cookie).swap("step", 0, "here")
        # ``ack="all"``: the answer came when the other node held it.
        assert not late.swap("step", 0, "there")
        assert late["step"] == "here"
        assert late.swap("step", "here", "there")
        assert opened(here.manager(), cookie)["step"] == "there"
