"""A look at a node never fails, and says what is wrong instead."""

from pathlib import Path

from clustersession.operations.nodes import NoSuchNode
from clustersession.operations.observing import NodeAccess, SharedAccess, look
from clustersession.replica.home import NodeHome
from clustersession.worker.runtime import Runtime


def alone(tmp_path: Path) -> Runtime:
    runtime = Runtime.from_options({"state_dir": str(tmp_path), "route": "tomcat1"})
    manager = runtime.manager()
    visit = manager.open([])
    visit.session["user"] = "ann"
    manager.commit(visit)
    return runtime


def test_a_node_without_an_agent_is_read_from_its_replica(tmp_path: Path) -> None:
    runtime = alone(tmp_path)
    seen = look(SharedAccess(runtime))
    assert "has no agent" in seen.trouble
    assert (seen.status["route"], seen.status["sessions"]) == ("tomcat1", 1)
    assert (seen.events, seen.sampled) == ([], 1)
    assert seen.last_written == {seen.status["node"]: 1}
    runtime.close()


def test_what_costs_most_is_taken_over_from_the_look_before(tmp_path: Path) -> None:
    runtime = alone(tmp_path)
    access = SharedAccess(runtime)
    first = look(access)
    second = look(access, first)
    assert second.sampled_at_ms == first.sampled_at_ms
    assert second.at_ms >= first.at_ms
    runtime.close()


def test_a_look_at_nothing_says_why(tmp_path: Path) -> None:
    class Missing(NodeAccess):
        @property
        def home(self) -> NodeHome:  # type: ignore[override]
            raise NoSuchNode("no node here")

        @home.setter
        def home(self, value: NodeHome) -> None:
            pass

    seen = look(Missing(Runtime.from_options({}).settings, NodeHome(tmp_path)))
    assert (seen.status, seen.trouble) == ({}, "no node here")
