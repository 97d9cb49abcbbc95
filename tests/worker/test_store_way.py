"""Writes that the store confirms to the worker itself, and those that it must not."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from clustersession.core.state import Change
from clustersession.net.store.resp import ErrorReply
from clustersession.operations.nodes import ask_agent
from clustersession.replica.results import Committed
from clustersession.session.manager import SessionManager
from clustersession.session.session import Session
from clustersession.tools.demo.processes import wait_for
from clustersession.wire.local import Operation
from clustersession.worker import agent_client, store_way
from clustersession.worker.agent_client import FEED_MOVED_INTERVAL_S, AgentClient
from clustersession.worker.direct_way import PlainWrite, plain_write
from clustersession.worker.places import node_home
from clustersession.worker.runtime import Runtime
from clustersession.worker.store_way import StoreWay
from tests.store.servers import Server, required, running


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy is no store that is away."""
    monkeypatch.setattr(store_way, "ANSWER_TIMEOUT_S", 5.0)
    monkeypatch.setattr(store_way, "CONNECT_TIMEOUT_S", 5.0)
    monkeypatch.setattr(agent_client, "GRANT_TIMEOUT_S", 5.0)


@pytest.fixture(params=["redis", "valkey"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with running(required(request.param), tmp_path / "server") as server:
        yield server


class Worker:
    """A worker of a node with a store, and what its way there was asked and has answered."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.manager: SessionManager = runtime.manager()
        self.client = cast(AgentClient, self.manager.cluster)
        [way] = self.client._direct_ways
        self.way = cast(StoreWay, way)
        self.confirmed: list[bool] = []
        ask = self.way.confirm

        def confirm(write: PlainWrite) -> bool:
            self.confirmed.append(ask(write))
            return self.confirmed[-1]

        self.way.confirm = confirm  # type: ignore[method-assign]

    def begin(self) -> str:
        """A session that the store has."""
        visit = self.manager.open([])
        cast(Session, visit.session)["n"] = 0
        header = self.manager.commit(visit).set_cookie
        assert header is not None
        return header.partition(";")[0].partition("=")[2]

    def log_in(self, cookie: str, user: str) -> str:
        """A session that is a user's now; returns its cookie."""
        visit = self.manager.open([cookie])
        cast(Session, visit.session).principal = user
        header = self.manager.commit(visit).set_cookie
        return cookie if header is None else header.partition(";")[0].partition("=")[2]

    def write(self, cookie: str, **values: object) -> bool | None:
        """A request that writes; whether the store confirmed it to us, None: it was not asked."""
        asked = len(self.confirmed)
        visit = self.manager.open([cookie])
        if visit.missing:
            self.manager.fetch(visit)
        visit.session.update(values)
        self.manager.commit(visit)
        return self.confirmed[-1] if len(self.confirmed) > asked else None

    def read(self, cookie: str) -> dict[str, object]:
        visit = self.manager.open([cookie])
        if visit.missing:
            self.manager.fetch(visit)
        return dict(visit.session)

    def status(self) -> dict[str, Any]:
        """What the agent says of its store."""
        seen: dict[str, Any] = ask_agent(node_home(self.runtime.settings), Operation.STATUS)
        store: dict[str, Any] = seen["store"]
        return store

    def settled(self) -> bool:
        seen = self.status()
        return seen["state"] == "reached" and bool(seen["compared"]) and not seen["behind"]

    def directly(self, cookie: str) -> None:
        """Wait until writes are confirmed to us."""
        numbers = iter(range(1000, 9000))
        wait_for(lambda: self.write(cookie, warm=next(numbers)) is True, "a direct confirmation")


@contextmanager
def worker(server: Server, directory: Path, route: str = "web1", **more: Any) -> Iterator[Worker]:
    runtime = Runtime.from_options({
        "distributable": True, "agent": "thread", "secret": "s" * 32, "store": server.url,
        "route": route, "state_dir": str(directory / route), "multicast_address": "",
        "ack_timeout_s": 8.0, **more,
    })
    try:
        runtime.start()
        runtime.manager()
        one = Worker(runtime)
        wait_for(one.settled, "the store to be reached")
        yield one
    finally:
        runtime.close()


def test_a_plain_write_is_confirmed_by_the_store_itself(server: Server, tmp_path: Path) -> None:
    with worker(server, tmp_path) as one, worker(server, tmp_path, "web2") as other:
        cookie = one.begin()
        one.directly(cookie)
        wait_for(one.settled, "the agent to know")
        before = one.status()
        for number in range(1, 21):
            assert one.write(cookie, n=number)
        wait_for(lambda: one.settled() and one.status()["carried"] >= before["carried"] + 20,
                 "the agent to count what was carried")
        assert one.status()["pushed"] - before["pushed"] <= 2, "but for a beat between"
        assert other.read(cookie)["n"] == 20
        wait_for(lambda: one.write(cookie, n=21) or True, "a write")
        wait_for(lambda: other.read(cookie)["n"] == 21, "the other host to hear of it")


def test_what_is_no_plain_write_goes_through_the_agent(server: Server, tmp_path: Path) -> None:
    with worker(server, tmp_path) as one:
        cookie = one.begin()
        assert one.confirmed == [], "a new session"
        one.directly(cookie)
        assert one.write(cookie, big="x" * store_way.BYTES_MAX) is False
        asked = len(one.confirmed)
        cookie = one.log_in(cookie, "ann")
        assert len(one.confirmed) == asked, "a login"
        visit = one.manager.open([cookie])
        asked = len(one.confirmed)
        cast(Session, visit.session).invalidate()
        one.manager.commit(visit)
        assert len(one.confirmed) == asked, "an end"
        assert one.manager.counters.unconfirmed == 0


def test_the_index_names_a_users_session_to_its_end(server: Server, tmp_path: Path) -> None:
    idle_s = 1000
    with worker(server, tmp_path, idle_timeout_s=idle_s) as one, worker(
        server, tmp_path, "web2", idle_timeout_s=idle_s
    ) as other:
        cookie = one.log_in(one.begin(), "ann")
        one.directly(cookie)
        wait_for(one.settled, "the agent to know")
        [index] = server.admin.keys("*:u:*:sessions")
        server.admin.delete(index)
        before = one.status()
        assert one.write(cookie, n=1)
        [(entry, until_ms)] = server.admin.zrange(index, 0, -1, withscores=True)
        [name] = server.admin.keys(b"*:s:{%b}" % entry[48:])
        ends_ms = server.admin.pexpiretime(name)
        assert until_ms == server.admin.pexpiretime(index) == ends_ms
        wait_for(lambda: one.settled() and one.status()["carried"] > before["carried"], "it")
        views = other.manager.sessions().sessions_of("ann")
        assert len([*views]) == 1


def test_a_write_beside_a_damaged_index_goes_through_the_agent(
    server: Server, tmp_path: Path
) -> None:
    with worker(server, tmp_path) as one:
        cookie = one.log_in(one.begin(), "ann")
        one.directly(cookie)
        [index] = server.admin.keys("*:u:*:sessions")
        numbers = count(1)

        def is_refused() -> bool:
            # An agent that hears of an earlier write may mend it before this one.
            server.admin.set(index, "a text")
            # The same again would be no write.
            return one.write(cookie, n=next(numbers)) is False

        wait_for(is_refused, "a write to go through the agent")
        assert one.manager.counters.unconfirmed == 0
        assert one.way._grant is not None, "others are written as before"


@pytest.mark.parametrize("options", [{"ack": "all"}, {"ack": "none"}, {"store_replicas": 1}])
def test_whoever_wants_another_word_asks_the_agent(tmp_path: Path, options: dict[str, Any]) -> None:
    with running(required("redis"), tmp_path / "server") as server:
        runtime = Runtime.from_options({
            "distributable": True, "agent": "thread", "secret": "s" * 32, "store": server.url,
            "state_dir": str(tmp_path), "route": "a", "multicast_address": "", **options,
        })
        try:
            runtime.start()
            assert cast(AgentClient, runtime.manager().cluster)._direct_ways == []
        finally:
            runtime.close()


def test_a_store_that_was_emptied_gets_everything_back(server: Server, tmp_path: Path) -> None:
    with worker(server, tmp_path) as one, worker(server, tmp_path, "web2") as other:
        cookie = one.begin()
        one.write(cookie, kept="x")
        one.directly(cookie)
        server.admin.flushall()
        # The agent may have told it everything again by now.
        one.write(cookie, n=1)
        assert one.manager.counters.unconfirmed == 0
        assert {"kept": "x", "n": 1}.items() <= other.read(cookie).items()
        wait_for(one.settled, "everything to be compared")
        one.directly(cookie)


def test_a_store_that_was_set_back_does_not_confirm(server: Server, tmp_path: Path) -> None:
    with worker(server, tmp_path) as one:
        cookie = one.begin()
        one.directly(cookie)
        [name] = server.admin.keys("*:s:*")
        before = server.admin.dump(name)
        assert one.write(cookie, kept="x")
        server.admin.restore(name, 0, before, replace=True)  # type: ignore[arg-type]
        # The agent may have mended it by now.
        one.write(cookie, n=7)
        assert one.manager.counters.unconfirmed == 0
        with worker(server, tmp_path, "web2") as other:
            assert {"kept": "x", "n": 7}.items() <= other.read(cookie).items()


def test_a_session_that_was_ended_elsewhere_is_not_written(server: Server, tmp_path: Path) -> None:
    with worker(server, tmp_path) as one, worker(server, tmp_path, "web2") as other:
        cookie = one.begin()
        one.directly(cookie)
        mine = one.manager.open([cookie])
        mine.session["n"] = 1
        theirs = other.manager.open([cookie])
        if theirs.missing:
            other.manager.fetch(theirs)
        cast(Session, theirs.session).invalidate()
        other.manager.commit(theirs)
        one.manager.commit(mine)
        wait_for(lambda: one.read(cookie) == {}, "the end to be known")
        assert other.read(cookie) == {}


def test_a_full_store_confirms_through_the_agent_or_not(server: Server, tmp_path: Path) -> None:
    with worker(server, tmp_path) as one:
        cookie = one.begin()
        one.directly(cookie)
        server.admin.config_set("maxmemory", 1)
        assert one.write(cookie, n=1) is False
        server.admin.config_set("maxmemory", 0)
        wait_for(one.settled, "the store to take it")
        one.directly(cookie)


def test_a_store_that_stands_still_costs_little(server: Server, tmp_path: Path) -> None:
    with worker(server, tmp_path, ack_timeout_s=0.3) as one:
        cookie = one.begin()
        one.directly(cookie)
        server.pause()
        try:
            assert one.write(cookie, n=1) is False
            assert one.way._grant is None
            assert one.write(cookie, n=2) is False
        finally:
            server.go_on()
        wait_for(one.settled, "the store to be reached")
        one.directly(cookie)


def test_a_store_that_was_killed_is_found_again(server: Server, tmp_path: Path) -> None:
    with worker(server, tmp_path, ack_timeout_s=0.3) as one:
        cookie = one.begin()
        one.directly(cookie)
        server.kill()
        assert one.write(cookie, n=1) is False
        server.start()
        wait_for(one.settled, "the store to be reached")
        one.directly(cookie)
        [name] = server.admin.keys("*:s:*")
        held = one.client._direct_ways[0]
        assert held is one.way
        assert server.admin.hlen(name)


def test_a_store_that_the_worker_alone_cannot_reach(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*arguments: object) -> object:
        raise ConnectionRefusedError("a firewall")

    with worker(server, tmp_path) as one:
        cookie = one.begin()
        one.directly(cookie)
        monkeypatch.setattr(one.way._links, "ask", refuses)
        assert one.write(cookie, n=1) is False
        assert one.manager.counters.unconfirmed == 0


@pytest.mark.parametrize("answer", [
    True, None, b"1", 7, -5, -4, [1], ErrorReply("OOM command not allowed"),
    ErrorReply("WRONGTYPE"), ErrorReply("NOPERM"), ErrorReply("READONLY"), ErrorReply("NOSCRIPT"),
])  # fmt: skip
def test_no_other_answer_is_a_confirmation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    with running(required("redis"), tmp_path / "server") as server, worker(
        server, tmp_path
    ) as one:
        cookie = one.begin()
        one.directly(cookie)
        monkeypatch.setattr(one.way._links, "ask", lambda *arguments: answer)
        assert one.write(cookie, n=1) is False
        rests = isinstance(answer, ErrorReply) and answer.code not in ("OOM", "WRONGTYPE")
        assert (one.way._grant is None) is rests


def test_what_the_user_of_an_acl_lacks_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(required("redis"), tmp_path / "server") as server, worker(
        server, tmp_path
    ) as one:
        cookie = one.begin()
        one.directly(cookie)
        server.admin.execute_command("ACL", "SETUSER", "default", "-hmget")
        for n in (1, 2):
            one.way._rests_until_s = 0.0
            assert one.write(cookie, n=n) is False
        [told] = [r.getMessage() for r in caplog.records if "through the agent" in r.getMessage()]
        assert "ACL SETUSER default on" in told
        assert one.manager.counters.unconfirmed == 0


def test_writes_of_a_former_node_id_are_not_carried(tmp_path: Path) -> None:
    with running(required("redis"), tmp_path / "server") as server, worker(
        server, tmp_path
    ) as one:
        cookie = one.begin()
        one.directly(cookie)
        grant = one.way._grant
        assert grant is not None
        one.way._grant = grant._replace(node=b"x" * 8)
        assert one.write(cookie, n=1) is False


def test_event_loops_write_themselves_too(server: Server, tmp_path: Path) -> None:
    with worker(server, tmp_path) as one:
        cookie = one.begin()
        one.directly(cookie)
        wait_for(one.settled, "the agent to know")
        replica = one.manager.replica
        [key] = replica.keys("", 10)

        async def write(number: int) -> bool:
            wall_ms = one.manager.now_ms()
            change = Change(key, wall_ms, {"n": b"%d" % number})
            committed = replica.commit([change], wall_ms)
            [stored] = committed.stored
            found = one.client
            plain = plain_write(committed.head, [stored])
            assert plain is not None
            return await one.way.confirm_async(plain) or await found.confirm_async(
                committed.head
            )

        async def several() -> list[bool]:
            written = [await write(number) for number in range(20)]
            await asyncio.sleep(10 * FEED_MOVED_INTERVAL_S)
            return written

        before = one.status()["carried"]
        assert all(asyncio.run(several()))
        wait_for(lambda: one.settled() and one.status()["carried"] > before, "to be counted")


def test_a_worker_that_is_killed_between_loses_nothing(tmp_path: Path) -> None:
    """After the commit, and after the call: what it had no time to tell goes with a beat."""
    with running(required("redis"), tmp_path / "server") as server, worker(
        server, tmp_path
    ) as one:
        cookie = one.begin()
        one.directly(cookie)
        wait_for(one.settled, "the agent to know")
        replica = one.manager.replica
        [key] = replica.keys("", 10)
        for calls in (False, True):
            wall_ms = one.manager.now_ms()
            committed = replica.commit([Change(key, wall_ms, {"n": b"%d" % calls})], wall_ms)
            if calls:
                one.way._tell = lambda place, number: None
                assert _confirm(one, committed)
            field, wanted = b"v" + replica.node.hex().encode(), b"%016x" % committed.head
            [name] = server.admin.keys("*:s:*")
            wait_for(lambda n=name, f=field, w=wanted: server.admin.hget(n, f) == w, "the feed")
        wait_for(one.settled, "the agent to know")


def _confirm(one: Worker, committed: Committed) -> bool:
    write = plain_write(committed.head, committed.stored)
    assert write is not None
    return one.way.confirm(write)


def test_a_child_of_a_fork_writes_on_connections_of_its_own(tmp_path: Path) -> None:
    with running(required("redis"), tmp_path / "server") as server, worker(
        server, tmp_path
    ) as one:
        cookie = one.begin()
        one.directly(cookie)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                manager = one.runtime.manager()
                visit = manager.open([cookie])
                visit.session["child"] = True
                manager.commit(visit)
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
        for number in range(5):
            one.write(cookie, n=number)
        assert one.read(cookie)["n"] == 4
