"""The agent among real workers: started once, outliving its starter, gone after the last."""

import time
from pathlib import Path
from typing import Any

import pytest

from clustersession.net.agent_link import AgentGone
from clustersession.operations.nodes import ask_agent
from clustersession.replica.home import NodeHome
from clustersession.wire.local import Operation
from tests.lifecycle.conftest import StartWorker
from tests.support.processes import kill_hard, node_pids, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

WORKERS = 16
KILLS = 5


def agent(home: NodeHome) -> dict[str, Any]:
    """What the agent says; nothing while there is none."""
    try:
        status: dict[str, Any] = ask_agent(home, Operation.STATUS)
    except (AgentGone, TimeoutError):
        return {"agent_pid": 0, "workers": []}
    return status


def test_of_many_workers_at_once_one_starts_it_and_it_outlives_all_but_the_last(
    start: StartWorker, home: NodeHome, state_dir: Path
) -> None:
    workers = [start(CLUSTERSESSION_AGENT_LINGER_S="2") for _ in range(WORKERS)]
    assert {worker.first_word() for worker in workers} == {"tomcat1"}
    pids = sorted(worker.process.pid for worker in workers)
    wait_for(lambda: sorted(agent(home)["workers"]) == pids, "all workers to be attached", 30.0)
    assert home.agent_log.read_text().count(" starts in cluster ") == 1
    pid = agent(home)["agent_pid"]
    assert set(node_pids(state_dir)) == {pid, *pids}

    # Whichever started it is among them.
    last = workers.pop()
    kill_hard([worker.process.pid for worker in workers])
    wait_for(lambda: agent(home)["workers"] == [last.process.pid], "the killed to be missed")
    assert agent(home)["agent_pid"] == pid
    assert last.count() == 1

    kill_hard([last.process.pid])
    began_s = time.monotonic()
    wait_for(lambda: not node_pids(state_dir) or pid not in node_pids(state_dir), "its end", 20.0)
    assert time.monotonic() - began_s > 1.0, "it must linger"
    assert not home.agent_socket.exists()
    assert "has left" in home.agent_log.read_text()
    assert home.agent_log.read_text().count(" starts in cluster ") == 1


def test_killed_again_and_again_another_comes_and_nothing_is_lost(
    start: StartWorker, home: NodeHome
) -> None:
    """How soon: ``python -m benchmarks.agent_failover``."""
    workers = [start() for _ in range(3)]
    for worker in workers:
        assert worker.first_word() == "tomcat1"
    wait_for(lambda: len(agent(home)["workers"]) == len(workers), "all workers to be attached")
    for number in range(1, KILLS + 1):
        before = agent(home)["agent_pid"]
        kill_hard([before])
        # They write while there is none: each waits for the next.
        assert [worker.count() for worker in workers] == [number] * len(workers)
        wait_for(
            lambda b=before: agent(home)["agent_pid"] not in (0, b)
            and len(agent(home)["workers"]) == len(workers), "all at another agent",
        )
    assert home.agent_log.read_text().count(" starts in cluster ") == KILLS + 1
