"""The agent leaves its workers a serving view, and says when it is ready."""

import asyncio
from pathlib import Path

import pytest

from clustersession.agent.agent import Agent
from clustersession.core.errors import ReplicaFull
from clustersession.core.serving_view import VIEW_NOTE, View
from clustersession.replica.home import NodeHome
from clustersession.replica.opening import open_memory
from clustersession.settings.settings import Settings
from clustersession.tools.demo.processes import free_port
from tests.support.waiting import until


async def test_a_view_for_which_there_was_no_space_is_written_at_the_next_turn_of_the_sweeper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        distributable=True, route="a", secret=("a secret for these tests",), bind="127.0.0.1",
        port=free_port(), multicast_address="",
    )
    replica = open_memory(b"a" * 8, clock_skew_ms_max=300_000)
    agent = Agent(settings, NodeHome(tmp_path), replica, lingers=False)
    running = asyncio.create_task(agent.run())
    await until(lambda: replica.load_note(VIEW_NOTE) is not None)

    def full(*_: object) -> None:
        raise ReplicaFull("no space")

    with monkeypatch.context() as patch:
        patch.setattr(replica, "save_note", full)
        agent._on_workers(1, 1)
    assert View.decode(replica.load_note(VIEW_NOTE)).serving == set()
    assert agent.driver.event_log.events["view_failed"] == 1
    agent._on_turn()
    assert View.decode(replica.load_note(VIEW_NOTE)).serving == {"a"}
    agent.stop()
    await running
