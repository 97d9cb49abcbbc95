"""What the agent tells of itself is plain, whole, and what metrics are made from."""

import json
from pathlib import Path

from clustersession.agent.metrics import METRICS
from clustersession.operations.nodes import find_home, status
from clustersession.settings.settings import Settings
from clustersession.tools.demo.processes import wait_for
from tests.worker.thread_nodes import login, running_nodes


def test_a_status_travels_as_json_and_names_the_others(tmp_path: Path) -> None:
    with running_nodes(tmp_path, 2) as (first, _):
        home = find_home(Settings(state_dir=str(tmp_path), route="node1"))
        login(first.manager(), "ann")
        wait_for(lambda: status(home)["work"]["commits"] == 1, "the commit to be told")
        found = status(home)
        assert json.loads(json.dumps(found)) == found
        (member,) = found["members"]
        assert (member["route"], member["status"], member["carrier"]) == ("node2", "alive", "tcp")
        assert (found["route"], found["sessions"], found["multicast"]) == ("node1", 1, "off")
        assert len(found["workers"]) == 1
        assert "s" * 32 not in json.dumps(found)
        absent = [
            metric.name for metric in METRICS
            if not list(metric.rows(found)) and "_store_" not in metric.name
        ]
        assert not absent, "each metric has its value in a status"
