"""Events and watching over real sockets."""

import asyncio
from pathlib import Path

import pytest

from clustersession.session.events import Event
from clustersession.tools.demo.processes import wait_for
from tests.worker.thread_nodes import is_alive, login, opened, running_nodes

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]


def test_an_event_is_told_where_it_was_caused_and_expiry_once_in_the_cluster(
    tmp_path: Path,
) -> None:
    with running_nodes(tmp_path, 3, idle_timeout_s=1) as runtimes:
        heard: list[tuple[str, str, Event]] = []
        for runtime in runtimes:
            for kind in ("created", "changed", "expired"):
                runtime.on(kind, lambda event, kind=kind, route=runtime.settings.route:
                           heard.append((kind, route, event)))
        cookies = [login(runtime.manager(), "ann") for runtime in runtimes]
        assert [(kind, route) for kind, route, _ in heard] == [
            ("created", "node1"), ("created", "node2"), ("created", "node3"),
        ]
        wait_for(lambda: not any(r.sessions().sessions_of("ann") for r in runtimes), "expiry", 30)
        for runtime in runtimes:
            replica = runtime.manager().replica
            wait_for(lambda r=replica: not any(r.get(c[:23]) for c in cookies), "the sweep", 30)
        wait_for(lambda: len(heard) >= 6, "the events", 30)
        expired = [event for kind, _, event in heard if kind == "expired"]
        assert len({event.session for event in expired}) == len(expired) == 3
        assert all(event.data == {"n": 1} for event in expired)
        assert not any(event.here for event in expired)


def test_everywhere_each_node_tells_once(tmp_path: Path) -> None:
    with running_nodes(tmp_path, 3, events="everywhere") as runtimes:
        heard: list[tuple[str, str, str | None, bool]] = []
        for runtime in runtimes:
            for kind in ("created", "changed", "ended"):
                runtime.on(kind, lambda event, route=runtime.settings.route:
                           heard.append((route, event.kind, event.reason, event.here)))
        cookie = login(runtimes[0].manager(), "ann")
        for runtime in runtimes[1:]:
            wait_for(lambda r=runtime: is_alive(r.manager(), cookie), "the session")
        runtimes[1].sessions().end_all("ann")
        wait_for(lambda: len(heard) >= 6, "the events")
        assert sorted(heard) == [
            ("node1", "created", None, True), ("node1", "ended", "revoked", False),
            ("node2", "created", None, False), ("node2", "ended", "revoked", True),
            ("node3", "created", None, False), ("node3", "ended", "revoked", False),
        ]


@pytest.mark.asyncio
async def test_a_watcher_hears_of_changes_and_of_the_logout_on_another_node(
    tmp_path: Path,
) -> None:
    with running_nodes(tmp_path, 2) as (first, second):
        cookie = login(first.manager(), "ann")
        wait_for(lambda: is_alive(second.manager(), cookie), "the session on both")
        changes = opened(second.manager(), cookie).watch()
        for runtime, cart in ((first, ["tea"]), (second, ["milk"])):
            task = asyncio.create_task(anext(changes))
            await asyncio.sleep(0)
            session = opened(runtime.manager(), cookie)
            session["cart"] = cart
            await session.asave()
            assert (await task).values == {"cart": cart}
        task = asyncio.create_task(anext(changes))
        await asyncio.sleep(0)
        assert await first.sessions().aend_all("ann") == 1
        assert (await task).reason == "revoked"
    await asyncio.sleep(0.1)
