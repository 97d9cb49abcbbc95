"""The way to the store: what each says to the other gets there, is measured, and is told."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from clustersession.agent.driver import Driver, moment
from clustersession.agent.metrics import METRICS
from clustersession.core.contact import APART, CONTACT_NOTE, MET
from clustersession.core.state import Change, Creation
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.tools.demo.processes import wait_for
from clustersession.tools.terminal import status_text
from tests.node.world import key
from tests.store.servers import SERVERS, Server, command, running
from tests.support.processes import require
from tests.support.waiting import until
from tests.worker.thread_nodes import login, running_nodes


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server, of the kind that is installed."""
    program = next(filter(None, map(command, SERVERS)), None)
    if program is None:
        require("redis-server")
    assert program is not None
    with running(program, tmp_path_factory.mktemp("s")) as made:
        yield made


@asynccontextmanager
async def driving(
    store: str, name: str = "a", replica: Replica | None = None
) -> AsyncIterator[Driver]:
    settings = Settings(
        distributable=True, route=name, secret=("s" * 32,), bind="127.0.0.1", store=store
    )
    replica = replica or open_memory(name.encode() * 8, clock_skew_ms_max=300_000)
    driver = Driver(settings, replica)
    await driver.start()
    try:
        yield driver
    finally:
        await driver.stop()


def write(driver: Driver, number: int = 1) -> None:
    wall_ms = moment().wall_ms
    creation = Creation(wall_ms, wall_ms + 86_400_000, 0)
    driver.replica.commit([Change(key(number), wall_ms, {"a": b"1"}, creation=creation)], wall_ms)
    driver.feed_moved()


def figures(driver: Driver) -> dict[str, Any]:
    assert driver.store is not None
    assert driver.engine.store is not None
    return driver.store.status(driver.engine.store, 1_000_000)


async def test_two_nodes_meet_in_it_and_say_goodbye(store: Server) -> None:
    async with driving(store.url) as first:
        async with driving(store.url, "b") as second:
            write(first)
            await until(lambda: [m.status for m in first.engine.membership] == ["alive"])
            second.engine.fetch(1, key(1), {}, moment())
            second.pump(moment())
            await until(lambda: second.replica.get(key(1)) == first.replica.get(key(1)))
        await until(lambda: [m.status for m in first.engine.membership] == ["left"])


async def test_a_node_that_comes_back_is_apart_until_it_has_compared(store: Server) -> None:
    async with driving(store.url) as first:
        await until(lambda: first.replica.load_note(CONTACT_NOTE) == MET)
    async with driving("unix:///nowhere/valkey.sock", replica=first.replica) as second:
        assert second.replica.load_note(CONTACT_NOTE) == APART
        # Availability first: it is waited for some seconds, and not for ever.
        await until(lambda: second.replica.load_note(CONTACT_NOTE) == MET)
    async with driving(store.url, replica=first.replica) as third:
        assert third.replica.load_note(CONTACT_NOTE) == APART
        await until(lambda: third.replica.load_note(CONTACT_NOTE) == MET)
        assert figures(third)["compared"]


async def test_what_is_measured(store: Server) -> None:
    async with driving(store.url) as driver:
        write(driver)
        await until(lambda: figures(driver)["behind"] == 0 and figures(driver)["pushed"] == 1)
        found = figures(driver)
        assert (found["state"], found["reason"], found["reached"]) == ("reached", "", 1)
        assert 0 < found["round_trip_ms"] < 5_000
        assert found["read"] >= 1
        [server] = found["servers"]
        assert str(store.socket) in server


async def test_an_outage_is_told_once_with_its_reason(
    store: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "clustersession.agent")
    async with driving(store.url) as driver:
        await until(lambda: figures(driver)["compared"])
        store.kill()
        await until(lambda: "nobody listens" in figures(driver)["reason"])
        write(driver)
        await until(lambda: figures(driver)["behind"] == 1)
        assert figures(driver)["round_trip_ms"] is None
        lines = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert len(lines) == len(set(lines)) <= 2
        assert all("serves the sessions that it holds" in line for line in lines)
        store.start()
        await until(lambda: figures(driver)["behind"] == 0 and figures(driver)["reached"] == 2)
        told = [r.getMessage() for r in caplog.records if "the store is reached" in r.getMessage()]
        assert ["it is told what waits" in line for line in told] == [False, True]


async def test_what_waits_what_failed_and_how_full_it_is_are_told(store: Server) -> None:
    async with driving(store.url) as driver:
        await until(lambda: figures(driver)["compared"])
        found = figures(driver)
        assert (found["where"], found["oldest_s"]) == (str(store.socket), None)
        assert found["slow"] is False
        assert found["memory_bytes"] > 0
        assert not sum(found["errors"].values())
        store.kill()
        write(driver)
        await until(lambda: figures(driver)["errors"]["unreachable"] >= 2)
        found = figures(driver)
        assert found["errors"]["closed"] == 1
        assert found["memory_bytes"] is None
        assert 0 <= found["oldest_s"] < 60
        store.start()
        await until(lambda: figures(driver)["oldest_s"] is None)


async def test_one_that_owes_an_answer_is_slow(store: Server) -> None:
    async with driving(store.url) as driver:
        await until(lambda: figures(driver)["compared"])
        store.pause()
        try:
            await until(lambda: figures(driver)["slow"])
            assert figures(driver)["state"] == "reached"
        finally:
            store.go_on()
        await until(lambda: not figures(driver)["slow"])


async def test_what_may_not_be_wanted_is_told(
    store: Server, caplog: pytest.LogCaptureFixture
) -> None:
    store.admin.config_set("maxmemory", "100mb")
    store.admin.config_set("maxmemory-policy", "allkeys-lru")
    async with driving(store.url) as driver:
        await until(lambda: figures(driver)["compared"])
        assert sum("set noeviction" in r.getMessage() for r in caplog.records) == 1


async def test_a_store_that_is_not_there_keeps_nobody_from_leaving() -> None:
    async with driving("unix:///nowhere/valkey.sock") as driver:
        await until(lambda: "nobody listens" in figures(driver)["reason"])


def test_a_status_tells_of_it_and_metrics_follow(store: Server, tmp_path: Path) -> None:
    from clustersession.operations.nodes import find_home, status

    with running_nodes(tmp_path, 2, store=store.url) as (first, _):
        home = find_home(Settings(state_dir=str(tmp_path), route="node1"))
        login(first.manager(), "ann")
        wait_for(lambda: status(home)["store"]["pushed"] >= 1, "the login to be pushed")
        wait_for(lambda: status(home)["store"]["behind"] == 0, "the login to be held")
        found = status(home)
        assert json.loads(json.dumps(found)) == found
        assert found["carrier"] == "store"
        (member,) = found["members"]
        assert (member["carrier"], member["we_are_behind"]) == ("store", 0)
        rows = {m.name: list(m.rows(found)) for m in METRICS if "_store_" in m.name}
        assert all(rows.values())
        assert rows["clustersession_store_up"] == [((), 1.0)]
        text = status_text(found)
        assert f"store              {store.socket}, reached for" in text
        assert "store round trip" in text
