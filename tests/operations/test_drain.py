"""Draining a node from the command line: its users get the other node's route, then it may go."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clustersession.cli import main
from clustersession.replica.home import NodeHome
from clustersession.tools.demo.processes import free_port, wait_for
from clustersession.wire.local import Operation
from clustersession.worker.runtime import Runtime
from tests.operations.draining import make, request, serving

Nodes = tuple[Runtime, Runtime]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    port = free_port()
    made = make(tmp_path, "tomcat1", port), make(tmp_path, "tomcat2", port)
    for node in made:
        node.start()
    for node in made:
        wait_for(lambda n=node: serving(n) == {"tomcat1", "tomcat2"}, "both nodes to serve")
    yield made
    for node in made:
        node.close()


def run(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--state-dir", str(tmp_path), "--route", *arguments])


def test_users_of_a_drained_node_get_the_route_of_the_other(nodes: Nodes, tmp_path: Path) -> None:
    first, second = nodes
    cookie = request(first, user="ann")
    assert cookie is not None
    assert cookie.endswith(".tomcat1")
    result = run(tmp_path, "tomcat1", "drain")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == (
        "tomcat1 is drained: 1 other node holds all it wrote"
    )
    wait_for(lambda: serving(second) == {"tomcat2"}, "the other node to know")
    wait_for(lambda: serving(first) == {"tomcat2"}, "our own workers to know")
    assert request(first, cookie) == cookie.replace(".tomcat1", ".tomcat2")
    assert str(request(first, user="eve")).endswith(".tomcat2")
    moved = cookie.replace(".tomcat1", ".tomcat2")
    assert dict(second.manager().open([moved]).session) == {"user": "ann"}
    assert request(second, moved) is None


def test_json_and_a_second_drain(nodes: Nodes, tmp_path: Path) -> None:
    for _ in range(2):
        result = run(tmp_path, "tomcat1", "drain", "--json", "--timeout", "20")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout) == {
            "route": "tomcat1", "phase": "draining", "peers": 1, "behind": {}, "done": True
        }


def test_draining_ends_when_workers_start_anew(nodes: Nodes, tmp_path: Path) -> None:
    first, second = nodes
    assert run(tmp_path, "tomcat1", "drain").exit_code == 0
    wait_for(lambda: serving(second) == {"tomcat2"}, "the other node to know")
    first.close()
    first.start()
    wait_for(lambda: serving(second) == {"tomcat1", "tomcat2"}, "the node to be back")


def test_time_over_is_told_and_who_lacks_what(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lagging(home: NodeHome, operation: Operation) -> object:
        members = [
            {"route": "tomcat2", "status": "alive", "behind_us": 7},
            {"route": "tomcat3", "status": "dead", "behind_us": 9},
        ]
        return {"route": "tomcat1", "phase": "draining", "members": members}

    monkeypatch.setattr("clustersession.operations.drain.ask_agent", lagging)
    result = run(tmp_path, "tomcat1", "drain", "--timeout", "0")
    assert result.exit_code == 1
    assert "tomcat2 lacks 7 changes" in result.output
    assert "tomcat3" not in result.output
    assert "not drained within 0 s" in result.output


def test_without_an_agent_it_says_so(tmp_path: Path) -> None:
    node = Runtime.from_options({"state_dir": str(tmp_path), "route": "tomcat1"})
    node.start()
    node.close()
    result = run(tmp_path, "tomcat1", "drain")
    assert result.exit_code == 1
    assert "has no agent" in result.output
