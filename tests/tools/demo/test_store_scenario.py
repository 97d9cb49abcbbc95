"""Each step of the scenario with a store fails when what it claims has not happened.

That all of them hold on real processes is in test_run.py.
"""

from pathlib import Path
from typing import Any

import pytest

from clustersession.tools.demo import store_scenario
from clustersession.tools.demo.processes import StepFailed, free_port
from clustersession.tools.demo.scenario import Browser
from clustersession.tools.demo.store_scenario import StoreScenario

AWAY = "the store at x is away; until it is back this node serves the sessions that it holds"
REACHED = "the store is reached: redis 7.0 at x"


class MadeUpStore:
    """A store that says what it is told to say."""

    port = free_port()
    program: Any = type("Program", (), {"pid": 7})

    def __init__(self, node: "MadeUpNode", **says: int) -> None:
        self.node = node
        self.says = {"keys_at_start": 0, "empty": 0, "sessions": 1, **says}

    def start(self) -> None:
        self.node.lines.append(REACHED)

    def kill(self) -> int:
        self.node.lines.append(AWAY)
        return 7

    def keys_at_start(self) -> int:
        return self.says["keys_at_start"]

    def empty(self) -> int:
        return self.says["empty"]

    def sessions(self, cluster_name: str) -> int:
        return self.says["sessions"]


class MadeUpNode:
    """A node that has only a log."""

    route = "tomcat1"
    state_dir = Path("/nowhere")

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log_lines(self) -> list[str]:
        return self.lines


def made_up(monkeypatch: pytest.MonkeyPatch, **says: int) -> StoreScenario:
    monkeypatch.setattr(store_scenario, "BACK_TIMEOUT_S", 0.1)
    node = MadeUpNode()
    nodes: Any = [node]
    store: Any = MadeUpStore(node, **says)
    scenario = StoreScenario(nodes, 0, store, "shop", lambda text: None)
    scenario.visitors = [Browser(0, "id.tomcat1")]
    monkeypatch.setattr(scenario, "_expect_everywhere", lambda: None, raising=False)
    return scenario


def test_a_store_that_is_not_gone_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = made_up(monkeypatch)
    monkeypatch.setattr(scenario, "_visitor", lambda name: scenario.visitors[0])
    monkeypatch.setattr(store_scenario, "accepts_connections", lambda port: True)
    with pytest.raises(StepFailed, match="the store is still away: wanted False"):
        scenario.kill_store()


def test_a_store_that_kept_something_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StepFailed, match="keys that the store has when it is started: wanted 0"):
        made_up(monkeypatch, keys_at_start=5).start_store()


def test_a_flush_that_leaves_something_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StepFailed, match="keys that FLUSHALL leaves: wanted 0, saw 3"):
        made_up(monkeypatch, empty=3).empty_store()


@pytest.mark.parametrize("held", [0, 2])
def test_a_store_that_is_not_told_everything_fails(
    held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StepFailed, match="in vain for the store to hold 1 sessions"):
        made_up(monkeypatch, sessions=held).start_store()


def test_users_of_one_host_alone_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = made_up(monkeypatch)
    scenario.visitors = []
    with pytest.raises(StepFailed, match="each host has users"):
        with scenario.clicking():
            pass
