"""What the table of outages in docs/store.md says, as far as no fault of the campaign shows it."""

import re
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from clustersession.tools.demo.nodes import Node
from clustersession.tools.demo.processes import wait_for
from tests.store.servers import SERVERS, Server, command, running
from tests.support.processes import require
from tests.system.client import agent_status, data, get, home, new_session, post
from tests.system.stored_nodes import (
    SLACK_S,
    clicks_everywhere,
    eventually_holds,
    is_reached,
    two_nodes,
)

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

AWAY = "until it is back this node serves the sessions that it holds"
AWAY_S = 2.0


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server, of the kind that is installed."""
    program = next(filter(None, map(command, SERVERS)), None)
    if program is None:
        require("redis-server")
    assert program is not None
    with running(program, tmp_path_factory.mktemp("s")) as made:
        yield made


def lines(node: Node, words: str) -> list[str]:
    return [line for line in node.log_lines() if words in line]


def is_guest(node: Node, cookie: str) -> bool:
    """Whether a session is unknown to a node, and its user keeps the cookie."""
    reply = get(node, "/api/session", cookie)
    assert reply.status == 200
    return reply.data["data"] == {} and reply.set_cookie is None


def reached(*nodes: Node) -> None:
    for node in nodes:
        wait_for(lambda n=node: is_reached(n), f"{node.route} to reach the store", 30.0)


def test_who_is_not_known_while_the_store_is_away_is_a_guest_and_keeps_the_cookie(
    store: Server, tmp_path: Path
) -> None:
    with two_nodes(tmp_path, store.url) as (first, second):
        before = new_session(first, user="ann")
        store.kill()
        during = new_session(first, user="bob")
        for cookie in (before, during):
            assert is_guest(second, cookie)
        written = post(second, "/api/set", during, {"key": "user", "value": "a guest"})
        assert written.set_cookie is not None, "what a guest is given is another session"
        for node in (first, second):
            told = lines(node, AWAY)
            reasons = {line.partition(" WARNING ")[2] for line in told}
            assert len(told) == len(reasons) > 0, "each reason once"
        store.start()
        reached(first, second)
        eventually_holds(second, during, {"user": "bob"})


def test_a_store_that_stands_still_is_given_up_after_the_drop_time(
    store: Server, tmp_path: Path
) -> None:
    with two_nodes(tmp_path, store.url, drop_time_s=1) as (first, second):
        store.pause()
        try:
            for node in (first, second):
                wait_for(lambda n=node: lines(n, "has said nothing for too long"), "its end")
        finally:
            store.go_on()
        reached(first, second)


def test_what_no_host_holds_any_more_is_gone_with_an_emptied_store(
    store: Server, tmp_path: Path
) -> None:
    with two_nodes(tmp_path, store.url, near_cache_idle_s=0.5, idle_timeout_s=60) as (first, _):
        gone = new_session(first, user="ann")
        wait_for(lambda: agent_status(first)["sessions"] == 0, "the session to leave", 60.0)
        store.admin.flushall()
        assert is_guest(first, gone)


def test_a_full_store_keeps_what_it_has_and_writes_stay_on_their_host(
    store: Server, tmp_path: Path
) -> None:
    with two_nodes(tmp_path, store.url) as (first, second):
        before = new_session(first, user="ann")
        with clicks_everywhere([first, second]) as users:
            store.admin.config_set("maxmemory", 1)
            wait_for(lambda: lines(first, "the store is full; new sessions"), "the error")
            assert store.admin.dbsize() > 0, "what it has stays"
            during = new_session(first, user="bob")
            assert is_guest(second, during)
            assert data(first, during) == {"user": "bob"}
            for user in users:
                user.go_on()
            store.admin.config_set("maxmemory", 0)
            reached(first, second)
        for cookie, user_id in ((before, "ann"), (during, "bob")):
            eventually_holds(second, cookie, {"user": user_id})


@pytest.mark.parametrize("first_back", ["store", "host"])
def test_a_host_dies_while_the_store_is_away(
    first_back: str, store: Server, tmp_path: Path
) -> None:
    with two_nodes(tmp_path, store.url) as (first, second):
        before = new_session(first, user="ann")
        store.kill()
        during = new_session(first, user="bob")
        first.kill()
        assert is_guest(second, before)
        assert is_guest(second, during)
        if first_back == "store":
            # Not emptied by its death, as one that keeps its data.
            store.start()
            first.start()
        else:
            first.start()
            for cookie, user_id in ((before, "ann"), (during, "bob")):
                assert data(first, cookie) == {"user": user_id}
            store.start()
        reached(first, second)
        for cookie, user_id in ((before, "ann"), (during, "bob")):
            eventually_holds(second, cookie, {"user": user_id})


def test_nobody_is_judged_while_the_store_is_away(store: Server, tmp_path: Path) -> None:
    with two_nodes(tmp_path, store.url, drop_time_s=1) as (first, second):
        store.kill()
        wait_for(lambda: lines(second, AWAY), "the store to be missed")
        first.kill()
        with clicks_everywhere([second]) as (user,):
            # Three times as long as a silence may last.
            before_s = agent_status(second)["store"]["since_s"]
            wait_for(lambda: agent_status(second)["store"]["since_s"] > before_s + 3, "some time")
            user.go_on()
        assert not lines(second, "member lost")
        assert [m["status"] for m in agent_status(second)["members"]] == ["alive"]


def test_a_host_that_dies_is_told_by_the_others(store: Server, tmp_path: Path) -> None:
    with two_nodes(tmp_path, store.url, drop_time_s=1) as (first, second):
        cookie = new_session(first, user="ann")
        first.kill()
        assert data(second, cookie) == {"user": "ann"}
        wait_for(lambda: lines(second, f"member lost: {first.route}"), "the loss")


@pytest.mark.parametrize("has_replica", [True, False])
def test_a_store_that_is_away_is_waited_for_by_a_host_that_starts(
    has_replica: bool, store: Server, tmp_path: Path
) -> None:
    with two_nodes(tmp_path, store.url) as (first, _):
        cookie = new_session(first, user="ann")
        first.kill()
        path = home(first).directory
        shutil.rmtree(path)
        first.start()
        assert data(first, cookie) == {"user": "ann"}
        wait_for(lambda: lines(first, "ready: caught up with the store"), "it to be ready")
        first.kill()
        store.kill()
        if not has_replica:
            shutil.rmtree(path)
        before = len(first.log_lines()) if has_replica else 0
        first.start()
        assert (data(first, cookie) == {"user": "ann"}) is has_replica
        wait_for(lambda: lines(first, "ready: the store is away"), "it to be ready")
        began, ended = (
            datetime.fromisoformat(re.match(r"\S+ \S+", line)[0])  # type: ignore[index] # a log's
            for line in first.log_lines()[before:] if " starts in " in line or "ready: " in line
        )
        assert AWAY_S - 0.5 < (ended - began).total_seconds() < AWAY_S + SLACK_S


def test_what_only_a_host_and_the_store_had_is_lost_with_both(
    store: Server, tmp_path: Path
) -> None:
    with two_nodes(tmp_path, store.url) as (first, second):
        only_there = new_session(first, user="ann")
        here_too = new_session(first, user="bob")
        assert data(second, here_too) == {"user": "bob"}
        first.kill()
        shutil.rmtree(home(first).directory)
        store.kill()
        store.start()
        first.start()
        reached(first, second)
        assert is_guest(first, only_there)
        assert is_guest(second, only_there)
        for node in (first, second):
            eventually_holds(node, here_too, {"user": "bob"})


def test_a_write_fails_where_that_is_asked_for_while_the_store_is_away(
    store: Server, tmp_path: Path
) -> None:
    with two_nodes(tmp_path, store.url, ack_failure="error") as (first, _):
        cookie = new_session(first, user="ann")
        store.kill()
        wait_for(lambda: lines(first, AWAY), "the store to be missed")
        assert post(first, "/api/set", cookie, {"key": "n", "value": 1}).status == 500
        wait_for(lambda: "ReplicationFailed" in first.program.log_path.read_text(), "its reason")
