"""Attributes that expire, on real nodes with their agents: gone everywhere, bytes and all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clustersession.core.ids import KEY_LENGTH
from clustersession.session.manager import SessionManager
from clustersession.session.visit import visit_of
from clustersession.tools.demo.processes import wait_for
from clustersession.worker.runtime import Runtime
from tests.store.servers import Server, required, running
from tests.worker.thread_nodes import login, opened, running_nodes

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

MARK = "a code that is to be found in no file"


@contextmanager
def cluster(kind: str, directory: Path, **settings: Any) -> Iterator[tuple[list[Runtime], Any]]:
    """Two nodes, and their store if they have one."""
    if kind == "peers":
        with running_nodes(directory / "nodes", 2, **settings) as runtimes:
            yield runtimes, None
        return
    with (
        running(required("redis"), directory / "store") as server,
        running_nodes(directory / "nodes", 2, store=server.url, **settings) as runtimes,
    ):
        yield runtimes, server


def sealed_length(server: Server, key: str) -> int:
    """The bytes of a session in the store."""
    names = server.admin.scan_iter(f"*{key}*")
    return sum(int(server.admin.memory_usage(name, samples=0)) for name in names)


def request(manager: SessionManager, cookie: str) -> dict[str, Any]:
    """What a request reads."""
    session = opened(manager, cookie)
    values = dict(session)
    manager.commit(visit_of(session))
    return values


@pytest.mark.parametrize("kind", ["peers", "store"])
def test_it_is_gone_on_both_nodes_and_so_are_its_bytes(kind: str, tmp_path: Path) -> None:
    told: list[tuple[str, tuple[str, ...]]] = []
    with cluster(kind, tmp_path) as (runtimes, server):
        here, there = (runtime.manager() for runtime in runtimes)
        for runtime in runtimes:
            runtime.on("changed", lambda event, route=runtime.settings.route:
                       told.append((route, event.names)))
        cookie = login(here, "ann")
        session = opened(here, cookie)
        session.set("otp", MARK * 100, expires_in=2)
        session.save()
        key = cookie[:KEY_LENGTH]
        wait_for(lambda: opened(there, cookie).get("otp"), "the code on the other node")
        full = None if server is None else sealed_length(server, key)
        told.clear()
        for manager in (here, there):
            wait_for(lambda m=manager: "otp" not in request(m, cookie), "its end", 20)
            assert request(manager, cookie) == {"n": 1}
            state = manager.replica.get(key)
            assert state is not None
            assert state.registers["otp"].value is None
        wait_for(lambda: told, "callbacks", 20)
        if server is not None:
            wait_for(lambda: sealed_length(server, key) < full - 1000, "the store to forget it", 20)
        assert [names for _, names in told] == [("otp",)]


def test_nobody_has_to_ask_for_it_to_go(tmp_path: Path) -> None:
    """The agents' sweep alone; the node that wrote it has been gone for a while."""
    with running_nodes(tmp_path, 2) as (first, second):
        cookie = login(first.manager(), "ann")
        session = opened(first.manager(), cookie)
        session.set("otp", MARK, expires_in=1)
        session.save()
        key = cookie[:KEY_LENGTH]
        replica = second.manager().replica

        def value() -> object:
            state = replica.get(key)
            assert state is not None
            return state.registers["otp"].value

        assert value() is not None
        first.close()
        wait_for(lambda: value() is None, "the sweep", 30)
        assert opened(second.manager(), cookie) == {"n": 1}
