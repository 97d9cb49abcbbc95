"""What workers count reaches their agent, once, and outlives them."""

from pathlib import Path

from clustersession.agent.worker_counts import WorkerCounts
from clustersession.operations.nodes import find_home, status
from clustersession.session.visit import visit_of
from clustersession.settings.settings import Settings
from clustersession.tools.demo.processes import wait_for
from clustersession.worker.runtime import Runtime
from tests.worker.thread_nodes import login, opened, running_nodes


def work_of(directory: Path, route: str) -> dict[str, int]:
    home = find_home(Settings(state_dir=str(directory), route=route))
    found: dict[str, int] = status(home)["work"]
    return found


def test_counts_of_two_nodes_reach_their_agents(tmp_path: Path) -> None:
    with running_nodes(tmp_path, 2) as (first, second):
        cookies = [login(first.manager(), f"user{n}") for n in range(3)]
        wait_for(lambda: work_of(tmp_path, "node1")["commits"] == 3, "the commits to be told")
        session = opened(second.manager(), cookies[0])
        session["n"] = 2
        second.manager().commit(visit_of(session))
        wait_for(lambda: work_of(tmp_path, "node2")["strayed"] == 1, "the strayed request")
        assert work_of(tmp_path, "node1")["commits"] == 3
        assert status(find_home(Settings(state_dir=str(tmp_path), route="node2")))["applied"] >= 3


def test_a_worker_that_stops_tells_first_and_a_second_one_adds(tmp_path: Path) -> None:
    with running_nodes(tmp_path, 1) as (node,):
        other = Runtime(node.settings)
        login(other.manager(), "ann")
        login(node.manager(), "ben")
        other.close()
        wait_for(lambda: work_of(tmp_path, "node1")["commits"] == 2, "both commits to be told")
        assert work_of(tmp_path, "node1")["commits"] == 2


def test_nonsense_is_left_out_and_sums_never_go_backwards() -> None:
    work = WorkerCounts(lambda: None)
    work.add({"commits": 3, "later": 9, 7: 8})
    work.add({"commits": -2, "fetches": True, "touches": 2**70, "strayed": "1"})
    work.add({"commits": 1})
    assert work.counts["commits"] == 4
    assert sum(work.counts.values()) == 4


def test_workers_are_not_asked_all_the_time() -> None:
    asked: list[int] = []
    work = WorkerCounts(lambda: asked.append(1))
    for _ in range(100):
        work.ask()
    assert len(asked) == 1
