"""A worker's view of the cluster: confirmations, fetches, routes, and doing without an agent."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from clustersession.core.errors import ReplicationFailed
from clustersession.core.serving_view import VIEW_NOTE, View
from clustersession.core.state import Change, SessionState
from clustersession.tools.demo.processes import free_port, wait_for
from clustersession.wire.local import AHEAD_KEYS_MAX, Operation
from clustersession.worker import runtime as runtime_module
from clustersession.worker.agent_client import AgentClient
from clustersession.worker.contact import AGENT_WAIT_S
from clustersession.worker.runtime import Runtime

MakeNode = Callable[..., Runtime]


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[MakeNode]:
    port = free_port()
    with ExitStack() as cleanup:
        def make(route: str, **options: object) -> Runtime:
            runtime = Runtime.from_options({
                "distributable": True, "agent": "thread", "bind": "127.0.0.1",
                "multicast_address": "", "port": port, "seeds": (f"127.0.0.1:{port}",),
                "secret": "s" * 32, "state_dir": str(tmp_path), "route": route, **options,
            })
            cleanup.callback(runtime.close)
            return runtime

        yield make


def write(runtime: Runtime, **values: object) -> str:
    manager = runtime.manager()
    visit = manager.open([])
    session = visit.session
    session.update(values)
    cookie = manager.commit(visit).set_cookie
    assert cookie is not None
    return cookie.partition("=")[2].partition(";")[0]


def value_of(set_cookie: str | None) -> str:
    assert set_cookie is not None
    return set_cookie.partition("=")[2].partition(";")[0]


def read(runtime: Runtime, cookie: str) -> dict[str, object]:
    manager = runtime.manager()
    visit = manager.open([cookie])
    session = visit.session
    if visit.missing:
        manager.fetch(visit)
    return dict(session)


def joined(first: Runtime, second: Runtime) -> None:
    first.start()
    second.start()
    for runtime in (first, second):
        port = runtime.manager().cluster
        wait_for(lambda p=port: len(p.serving_routes()) == 2, "both nodes to serve")


def test_a_confirmed_write_is_on_the_other_node(make_node: MakeNode) -> None:
    first, second = make_node("tomcat1"), make_node("tomcat2")
    joined(first, second)
    for number in range(50):
        cookie = write(first, n=number)
        assert read(second, cookie) == {"n": number}
    assert first.manager().counters.unconfirmed == 0


async def test_a_confirmed_write_is_on_the_other_node_without_blocking_a_loop(
    make_node: MakeNode,
) -> None:
    first, second = make_node("tomcat1"), make_node("tomcat2")
    joined(first, second)
    manager = first.manager()
    for number in range(50):
        visit = manager.open([])
        session = visit.session
        session["n"] = number
        outcome = await manager.commit_async(visit)
        cookie = outcome.set_cookie.partition("=")[2].partition(";")[0]
        assert read(second, cookie) == {"n": number}
    assert manager.counters.unconfirmed == 0
    # In the loop whose connection it closes, as a server does at its end.
    first.close()
    await asyncio.sleep(0)


def test_under_trio_a_write_is_confirmed_even_when_its_task_was_cancelled(
    make_node: MakeNode,
) -> None:
    first, second = make_node("tomcat1"), make_node("tomcat2")
    joined(first, second)
    manager = first.manager()
    done: list[int] = []

    async def commit(number: int) -> str:
        visit = manager.open([])
        visit.session["n"] = number
        outcome = await manager.commit_async(visit)
        return value_of(outcome.set_cookie)

    async def main() -> None:
        for number in range(20):
            with trio.CancelScope() as scope:
                if number % 2:
                    scope.cancel()
                cookie = await commit(number)
                assert read(second, cookie) == {"n": number}
                done.append(number)
        assert await first.phase_async() == "ready"

    trio.run(main)
    assert done == list(range(20))
    assert manager.counters.unconfirmed == 0
    assert second.manager().counters.fetches == 0


def test_under_trio_others_run_while_a_copy_is_awaited(make_node: MakeNode) -> None:
    options = {"ack": "none", "consistency": "causal", "fetch_timeout_s": 10.0}
    first, second = make_node("tomcat1", **options), make_node("tomcat2", **options)
    joined(first, second)
    manager = second.manager()
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async def request(number: int) -> None:
        visit = first.manager().open([])
        visit.session["n"] = number
        outcome = await first.manager().commit_async(visit)
        cookie, token = value_of(outcome.set_cookie), value_of(outcome.set_seen_cookie)
        visit = manager.open([cookie], None, [token])
        if visit.missing:
            before = turns
            await manager.fetch_async(visit)
            assert turns > before
        assert visit.session == {"n": number}

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(turn)
            for number in range(50):
                await request(number)
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert manager.counters.fetches > 0
    assert manager.counters.stale_reads == 0


def test_under_trio_the_end_of_waiting_is_the_same(make_node: MakeNode) -> None:
    """No agent, and nobody's copy: bounded, and then the breaker spares the next ones."""
    alone = make_node("tomcat1", agent="external", ack_timeout_s=0.2)
    manager = alone.manager()

    async def main() -> float:
        began_s = trio.current_time()
        for _ in range(20):
            visit = manager.open([])
            visit.session["n"] = 1
            await manager.commit_async(visit)
        return trio.current_time() - began_s

    assert trio.run(main) < 5.0
    assert manager.counters.unconfirmed == 20


def test_with_causal_consistency_the_other_node_never_lags_behind_its_client(
    make_node: MakeNode,
) -> None:
    # Long enough that a busy machine proves nothing; nobody waits for it to pass.
    options = {"ack": "none", "consistency": "causal", "fetch_timeout_s": 10.0}
    nodes = [make_node(route, **options) for route in ("tomcat1", "tomcat2")]
    joined(nodes[0], nodes[1])
    cookie = token = ""
    for number in range(200):
        writer, reader = nodes[number % 2].manager(), nodes[1 - number % 2].manager()
        visit = writer.open([cookie], None, [token])
        session = visit.session
        if visit.missing:
            writer.fetch(visit)
        session["n"] = number
        outcome = writer.commit(visit)
        if outcome.set_cookie is not None:
            cookie = value_of(outcome.set_cookie)
        token = value_of(outcome.set_seen_cookie)
        visit = reader.open([cookie], None, [token])
        session = visit.session
        if visit.missing:
            reader.fetch(visit)
        assert session == {"n": number}
        assert reader.commit(visit).set_seen_cookie is None
    managers = [node.manager() for node in nodes]
    assert sum(manager.counters.stale_reads for manager in managers) == 0
    assert sum(manager.counters.fetches for manager in managers) > 0


async def test_with_causal_consistency_no_loop_is_blocked_while_a_copy_is_awaited(
    make_node: MakeNode,
) -> None:
    options = {"ack": "none", "consistency": "causal", "fetch_timeout_s": 10.0}
    first, second = make_node("tomcat1", **options), make_node("tomcat2", **options)
    joined(first, second)
    manager = second.manager()
    for number in range(50):
        visit = first.manager().open([])
        session = visit.session
        session["n"] = number
        outcome = await first.manager().commit_async(visit)
        cookie, token = value_of(outcome.set_cookie), value_of(outcome.set_seen_cookie)
        visit = manager.open([cookie], None, [token])
        session = visit.session
        if visit.missing:
            await manager.fetch_async(visit)
        assert session == {"n": number}
    # In the loop whose connections they close, as a server does at its end.
    second.close()
    first.close()
    await asyncio.sleep(0)


def test_a_worker_that_starts_waits_for_its_agent(make_node: MakeNode) -> None:
    first = make_node("a")
    first.start()
    port = first.manager().cluster
    assert isinstance(port, AgentClient)
    assert port.attachment.attached.is_set()


def test_a_worker_whose_agent_does_not_come_starts_without_it(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_module, "AGENT_WAIT_S", 0.2)
    alone = make_node("a", agent="external")
    begin_s = time.monotonic()
    alone.start()
    assert 0.2 <= time.monotonic() - begin_s < AGENT_WAIT_S


def test_a_session_that_was_not_streamed_is_fetched(make_node: MakeNode) -> None:
    first, second = make_node("tomcat1"), make_node("tomcat2")
    joined(first, second)
    cookie = write(first, user="ann")
    replica = second.manager().replica
    # As if the stream had missed it: gone from the second node only.
    far_ms = time.time_ns() // 1_000_000 + 40 * 86_400_000
    assert replica.sweep(far_ms, 10) == 1
    assert read(second, cookie) == {"user": "ann"}
    assert second.manager().counters.fetched == 1


def came_back(make_node: MakeNode, **options: object) -> tuple[Runtime, str]:
    """A node that was away while its peer ended one of its sessions, not opened yet."""
    first, second = make_node("tomcat1", **options), make_node("tomcat2", **options)
    joined(first, second)
    cookie = write(first, user="ann")
    first.close()
    manager = second.manager()
    visit = manager.open([cookie])
    assert dict(visit.session) == {"user": "ann"}
    visit.invalidate()
    manager.commit(visit)
    return make_node("tomcat1", **options), cookie


@pytest.mark.parametrize("consistency", ["eventual", "causal"])
def test_a_node_that_comes_back_asks_at_once_what_was_ended(
    make_node: MakeNode, consistency: str
) -> None:
    # Long, so that a busy machine proves nothing; nobody waits for it to pass.
    node, cookie = came_back(make_node, consistency=consistency, fetch_timeout_s=10.0)
    assert read(node, cookie) == {}


async def test_a_node_that_comes_back_asks_at_once_without_blocking_a_loop(
    make_node: MakeNode,
) -> None:
    node, cookie = came_back(make_node, fetch_timeout_s=10.0)
    manager = node.manager()
    visit = manager.open([cookie])
    assert visit.missing
    await manager.fetch_async(visit)
    assert dict(visit.session) == {}
    # In the loop whose connection it closes, as a server does at its end.
    node.close()
    await asyncio.sleep(0)


def test_a_node_whose_peers_are_all_dead_waits_for_them_once(make_node: MakeNode) -> None:
    first, second = make_node("tomcat1"), make_node("tomcat2")
    joined(first, second)
    cookie = write(first, user="ann")
    second.close()
    first.close()
    node = make_node("tomcat1", seeds=("127.0.0.1:1",))
    assert read(node, cookie) == {"user": "ann"}
    asked = node.manager().counters.fetches
    assert asked == 1
    for _ in range(20):
        assert read(node, cookie) == {"user": "ann"}
    assert node.manager().counters.fetches == asked


def test_a_worker_that_loses_its_agent_is_apart_until_another_has_met_the_peers(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_node("tomcat1", fetch_timeout_s=10.0), make_node("tomcat2")
    joined(first, second)
    cookie = write(first, user="ann")
    client = first.agent_client()
    assert client is not None
    wait_for(lambda: not client.contact.is_apart(), "the peers to be met")
    with monkeypatch.context() as patched:
        patched.setattr(client.contact, "_is_attached", lambda: False)
        # The connection breaks as it does when an agent is killed; this one is still there.
        client.attachment.tell_stopping()
        wait_for(lambda: client.attachment.attachments == 2, "the second attachment")
        assert client.contact.is_apart()
    assert read(first, cookie) == {"user": "ann"}
    assert not client.contact.apart


def test_the_agent_is_told_which_sessions_are_waited_for(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_node("tomcat1", agent="external", ack_timeout_s=0.1)
    client, named = node.manager().cluster, []

    def asking(operation: Operation, *argument: object, timeout_s: float) -> int:
        named.append(argument[4])
        return 1

    monkeypatch.setattr(client, "_ask", asking)
    cookie = write(node, n=1)
    assert named == [[cookie[:23]]]
    client.confirm(1, [(cookie[:23], None, SessionState(0, 0, 0))] * (AHEAD_KEYS_MAX + 1))
    assert named[1:] == [[]]


def test_without_an_agent_a_write_is_kept_counted_and_logged_once(
    make_node: MakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    node = make_node("tomcat1", agent="external", ack_timeout_s=0.1)
    with caplog.at_level(logging.WARNING, "clustersession"):
        cookies = [write(node, n=number) for number in range(3)]
    assert [read(node, cookie) for cookie in cookies] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert node.manager().counters.unconfirmed == 3
    assert sum("no peer confirmed" in record.message for record in caplog.records) == 1


def test_an_application_that_asks_for_it_gets_the_error_and_the_session_is_kept(
    make_node: MakeNode,
) -> None:
    node = make_node("tomcat1", agent="external", ack_timeout_s=0.1, ack_failure="error")
    manager = node.manager()
    visit = manager.open([])
    session = visit.session
    session["n"] = 1
    with pytest.raises(ReplicationFailed):
        manager.commit(visit)
    assert manager.replica.stats().sessions == 1


def test_an_authentic_session_nobody_has_is_unknown_in_bounded_time(make_node: MakeNode) -> None:
    node = make_node("tomcat1", agent="external")
    cookie = write(make_node("tomcat2", agent="external", ack="none"), n=1)
    started_s = time.monotonic()
    assert read(node, cookie) == {}
    assert time.monotonic() - started_s < 2


def test_the_view_decides_who_serves_and_draining_takes_ourselves_out(
    make_node: MakeNode,
) -> None:
    node = make_node("tomcat1", agent="external")
    manager = node.manager()
    assert manager.cluster.serving_routes() == {"tomcat1"}
    view = View(frozenset({"tomcat2", "tomcat3"}), draining=False)
    manager.replica.save_note(VIEW_NOTE, view.encode())
    wait_for(lambda: manager.cluster.serving_routes() == {"tomcat1", "tomcat2", "tomcat3"}, "it")
    manager.replica.save_note(VIEW_NOTE, view._replace(draining=True).encode())
    wait_for(lambda: manager.cluster.serving_routes() == {"tomcat2", "tomcat3"}, "the drain")


def test_an_end_reaches_the_other_node(make_node: MakeNode) -> None:
    first, second = make_node("tomcat1"), make_node("tomcat2")
    joined(first, second)
    cookie = write(first, user="ann")
    manager = first.manager()
    visit = manager.open([cookie])
    session = visit.session
    session.invalidate()
    manager.commit(visit)
    assert read(second, cookie) == {}
    late = Change(cookie[:23], time.time_ns() // 1_000_000, {"late": b"\xc0"})
    assert not second.manager().replica.commit([late], late.accessed_ms).effective


def test_a_worker_that_a_rotation_left_behind_is_told_of_once(
    make_node: MakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = "s" * 32, "t" * 32
    rounds = (([old], 0), ([old, new], 0), ([new, old], 0), ([new], 0), ([old], 1), ([old], 1))
    for secret, told in rounds:
        runtime = make_node("tomcat1", agent="external", secret=secret)
        runtime.manager()
        runtime.close()
        assert caplog.text.count("the secret of node tomcat1") == told


async def test_writes_nobody_waits_for_are_told_to_the_agent_once_in_a_while(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_node("tomcat1", ack="none")
    await asyncio.to_thread(first.start)
    port = first.manager().cluster
    assert isinstance(port, AgentClient)
    heads: list[int] = []
    monkeypatch.setattr(port._pool, "tell", lambda operation, head: heads.append(head))
    for head in range(1, 1001):
        port.feed_moved(head)
    await asyncio.to_thread(wait_for, lambda: heads[-1] == 1000, "the last to be told")
    assert heads[0] == 1, "the first does not wait"
    assert heads[-1] == 1000, "the last is not forgotten"
    assert len(heads) < 500
