"""An agent stays as long as a worker needs it, takes its socket along, and leaves a view."""

import asyncio
import os
from pathlib import Path

import pytest

from clustersession.agent.agent import Agent
from clustersession.core.errors import ReplicaFull
from clustersession.core.serving_view import VIEW_NOTE, View
from clustersession.net.agent_link import AsyncLink
from clustersession.replica.home import NodeHome
from clustersession.replica.opening import open_memory
from clustersession.settings.settings import Settings
from clustersession.wire.local import Operation
from tests.support.processes import free_port
from tests.support.waiting import until


def agent(directory: Path, *, lingers: bool, linger_s: float = 0.05) -> Agent:
    settings = Settings(
        distributable=True, route="a", bind="127.0.0.1", secret=("s" * 32,), multicast_address="",
        port=free_port(), port_range=1, agent_linger_s=linger_s,
    )
    replica = open_memory(b"nodenode", clock_skew_ms_max=300_000)
    return Agent(settings, NodeHome(directory), replica, lingers=lingers)


async def test_it_goes_when_no_worker_comes(tmp_path: Path) -> None:
    async with asyncio.timeout(10):
        await agent(tmp_path, lingers=True).run()
    assert os.listdir(tmp_path) == ["journal"]


async def test_it_stays_for_a_worker_and_goes_after_it(tmp_path: Path) -> None:
    tested = agent(tmp_path, lingers=True, linger_s=1.0)
    running = asyncio.ensure_future(tested.run())
    async with asyncio.timeout(10):
        while not tested.home.agent_socket.exists():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)
        link = await AsyncLink.connect(tested.home.agent_socket)
        assert await link.ask(Operation.ATTACH, 4711, timeout_s=5) is True
        assert tested._linger is None, "it does not count down while a worker is there"
        assert (await link.ask(Operation.STATUS, timeout_s=5))["workers"] == [4711]
        link.close()
        await running


async def test_one_that_is_told_to_stop_before_it_began_does_not_begin(tmp_path: Path) -> None:
    tested = agent(tmp_path, lingers=False)
    tested.stop()
    await tested.run()
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("lingers", [True, False])
async def test_it_leaves_with_the_last_worker_that_has_its_store_unless_somebody_else_runs_it(
    tmp_path: Path, lingers: bool
) -> None:
    tested = agent(tmp_path, lingers=lingers, linger_s=1.0)
    running = asyncio.create_task(tested.run())
    await until(tested.home.agent_socket.exists)
    has_it, has_another = [await AsyncLink.connect(tested.home.agent_socket) for _ in range(2)]
    await has_it.ask(Operation.ATTACH, 4711, False, False, timeout_s=5)
    await has_another.ask(Operation.ATTACH, 4712, False, True, timeout_s=5)
    status = await has_another.ask(Operation.STATUS, timeout_s=5)
    assert (status["workers"], status["workers_of_another_store"]) == ([4711, 4712], [4712])
    assert not running.done()
    has_it.close()
    await until(lambda: 4711 not in tested.workers.worker_pids)
    if not lingers:
        assert tested._linger is None
        tested.stop()
    await running


async def test_it_waits_for_the_workers_with_its_store_when_one_with_another_comes_first(
    tmp_path: Path
) -> None:
    tested = agent(tmp_path, lingers=True, linger_s=600.0)
    running = asyncio.create_task(tested.run())
    await until(tested.home.agent_socket.exists)
    has_another, has_it = [await AsyncLink.connect(tested.home.agent_socket) for _ in range(2)]
    await has_another.ask(Operation.ATTACH, 4712, False, True, timeout_s=5)
    for _ in range(2):
        # The second time as after a restart of the server, or a link that broke.
        assert not tested._stop_wanted
        assert tested._linger is not None, "without them it does not stay for good"
        await has_it.ask(Operation.ATTACH, 4711, False, False, timeout_s=5)
        assert tested._linger is None
        has_it.close()
        await until(lambda: 4711 not in tested.workers.worker_pids)
        has_it = await AsyncLink.connect(tested.home.agent_socket)
    has_it.close()
    has_another.close()
    tested.stop()
    await running


async def test_a_view_for_which_there_was_no_space_is_written_at_the_next_turn_of_the_sweeper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = agent(tmp_path, lingers=False)
    replica = tested.replica
    running = asyncio.create_task(tested.run())
    await until(lambda: replica.load_note(VIEW_NOTE) is not None)

    def full(*_: object) -> None:
        raise ReplicaFull("no space")

    with monkeypatch.context() as patch:
        patch.setattr(replica, "save_note", full)
        tested._on_workers(1, 1)
    assert View.decode(replica.load_note(VIEW_NOTE)).serving == set()
    assert tested.driver.event_log.events["view_failed"] == 1
    tested._on_turn()
    assert View.decode(replica.load_note(VIEW_NOTE)).serving == {"a"}
    tested.stop()
    await running
