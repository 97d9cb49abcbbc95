"""Two nodes and a store: what one host writes others serve, and what becomes of it in outages."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPException
from itertools import count
from pathlib import Path
from secrets import token_urlsafe

import pytest

from clustersession.operations.drain import Drain, drain
from clustersession.tools.demo.nodes import ClusterPorts, Node
from clustersession.tools.demo.processes import Program, kill_hard, wait_for
from clustersession.tools.terminal import status_text
from clustersession.worker.runtime import Runtime
from tests.store.servers import SERVERS, Server, required, running
from tests.support.apps import fastapi_under_uvicorn, flask_under_gunicorn
from tests.system.client import agent_status, data, get, home, new_session, post, settled
from tests.system.conftest import StartNodes
from tests.system.stored_nodes import (
    FETCH_TIMEOUT_S,
    SLACK_S,
    Make,
    carried,
    check_index,
    clicks_everywhere,
    environment,
    eventually_holds,
    is_reached,
    log_in,
    start_nodes_with,
    store_status,
)
from tests.worker.thread_nodes import is_alive, login, opened, running_nodes

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

StartStored = Callable[..., list[Node]]


@pytest.fixture(params=SERVERS)
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of each kind, empty."""
    with running(required(request.param), tmp_path_factory.mktemp("s")) as made:
        yield made


@pytest.fixture
def start_stored(store: Server, tmp_path: Path) -> Iterator[StartStored]:
    """``start_stored((make, "web1"), (make, "web2"), name="value")`` starts nodes with the store.

    Further arguments are settings.
    """
    with ExitStack() as cleanup:
        def start(*wanted: tuple[Make, str], **settings: object) -> list[Node]:
            return start_nodes_with(cleanup, tmp_path, *wanted, **{"store": store.url, **settings})

        yield start


def pair(start_stored: StartStored, **settings: object) -> list[Node]:
    return start_stored(
        (fastapi_under_uvicorn, "web1"), (fastapi_under_uvicorn, "web2"), **settings
    )


def test_login_on_one_host_page_on_the_other_and_logout_ends_it_there(
    start_stored: StartStored,
) -> None:
    first, second = start_stored(
        (fastapi_under_uvicorn, "web1"), (flask_under_gunicorn, "web2")
    )
    cookie = post(first, "/api/login", None, {"user": "ann"}).cookie
    assert cookie is not None
    assert data(second, cookie) == {"user": "ann"}
    assert post(second, "/api/set", cookie, {"key": "n", "value": 1}).status == 200
    eventually_holds(first, cookie, {"user": "ann", "n": 1})
    assert post(first, "/api/logout", cookie, {}).status == 200
    wait_for(lambda: data(second, cookie) == {}, "the logout to get there")


def test_no_host_listens_for_another(start_stored: StartStored) -> None:
    first, second = pair(start_stored, seeds="127.0.0.1:1", tls_certificate="/nowhere.pem",
                         tls_key="/nowhere.pem", tls_ca="/nowhere.pem")
    seen = agent_status(first)
    assert seen["carrier"] == "store"
    assert seen["address"] == "127.0.0.1"
    assert [m["route"] for m in seen["members"]] == [second.route]
    assert seen["store"]["servers"]
    assert is_reached(first)


def test_kill_9_of_a_node_loses_nothing_and_its_users_move(start_stored: StartStored) -> None:
    first, second = pair(start_stored)
    cookie = new_session(first, user="ann")
    assert post(first, "/api/set", cookie, {"key": "n", "value": 1}).status == 200
    first.kill()
    reply = get(second, "/api/session", cookie)
    assert reply.data["data"] == {"user": "ann", "n": 1}
    wait_for(lambda: not settled(second, 1), "web1 to be missed")
    cookie = post(second, "/api/set", cookie, {"key": "n", "value": 2}).cookie or cookie
    assert cookie.endswith(f".{second.route}")
    first.start()
    assert data(first, cookie) == {"user": "ann", "n": 2}


def test_a_node_without_its_old_replica_has_everything(start_stored: StartStored) -> None:
    first, second = pair(start_stored)
    cookie = new_session(first, user="ann")
    first.kill()
    shutil.rmtree(home(first).directory)
    first.start()
    assert data(first, cookie) == {"user": "ann"}
    wait_for(lambda: settled(first, 1) and settled(second, 1), "both to be there")


def test_a_node_that_comes_back_serves_nothing_that_has_ended_meanwhile(
    start_stored: StartStored,
) -> None:
    first, second = pair(start_stored)
    cookies = [new_session(first, user=f"user {number}") for number in range(5)]
    first.kill()
    for cookie in cookies:
        assert data(second, cookie)
        assert post(second, "/api/logout", cookie, {}).status == 200
    first.start()
    for cookie in cookies:
        assert data(first, cookie) == {}


def test_kill_9_of_the_store_under_load(start_stored: StartStored, store: Server) -> None:
    nodes = pair(start_stored)
    kept = new_session(nodes[0], user="ann")
    ended = new_session(nodes[0], user="bob")
    assert data(nodes[1], ended) == {"user": "bob"}
    with clicks_everywhere(nodes) as users:
        store.kill()
        for user in users:
            user.go_on()
        assert post(nodes[0], "/api/logout", ended, {}).status == 200
        begun = new_session(nodes[0], user="carl")
        assert get(nodes[1], "/api/session", begun).status == 200
        store.start()
        for user in users:
            user.go_on()
        for node in nodes:
            wait_for(lambda n=node: is_reached(n), f"{node.route} to reach the store")
    for cookie, wanted in ((kept, "ann"), (begun, "carl")):
        eventually_holds(nodes[1], cookie, {"user": wanted})
    wait_for(lambda: data(nodes[1], ended) == {}, "the logout to get there")
    wait_for(lambda: len(list(store.admin.scan_iter("*:s:*"))) >= 5, "all to be in the store")
    away = [line for line in nodes[0].log_lines() if "the store" in line and "serves the" in line]
    assert 1 <= len(away) <= 3, away


def test_a_store_that_says_nothing_for_5_s(start_stored: StartStored, store: Server) -> None:
    nodes = pair(start_stored)
    elsewhere = new_session(nodes[0], user="ann")
    with clicks_everywhere(nodes) as users:
        store.pause()
        try:
            began_s = time.monotonic()
            assert get(nodes[1], "/api/session", elsewhere).status == 200
            assert time.monotonic() - began_s <= FETCH_TIMEOUT_S + SLACK_S
            until_s = began_s + 5
            while time.monotonic() < until_s:
                for user in users:
                    user.go_on()
        finally:
            store.go_on()
        for node in nodes:
            wait_for(lambda n=node: is_reached(n), f"{node.route} to reach the store")
    assert data(nodes[1], elsewhere) == {"user": "ann"}
    for node in nodes:
        assert not [line for line in node.log_lines() if "member lost" in line]


def test_flushall_under_load(start_stored: StartStored, store: Server) -> None:
    nodes = pair(start_stored)
    cookie = new_session(nodes[0], user="ann")
    with clicks_everywhere(nodes) as users:
        store.admin.flushall()
        for user in users:
            user.go_on()
        eventually_holds(nodes[1], cookie, {"user": "ann"})


def test_a_killed_agent_is_replaced(start_stored: StartStored) -> None:
    nodes = pair(start_stored)
    cookie = new_session(nodes[0], user="ann")
    with clicks_everywhere(nodes) as users:
        pid = agent_status(nodes[0])["agent_pid"]
        kill_hard([pid])
        for user in users:
            user.go_on()
        wait_for(
            lambda: agent_status(nodes[0]).get("agent_pid", pid) != pid and settled(nodes[0], 1),
            "another agent",
        )
    assert post(nodes[0], "/api/set", cookie, {"key": "n", "value": 1}).status == 200
    eventually_holds(nodes[1], cookie, {"user": "ann", "n": 1})


class Writer:
    """Writes one number after the other to a session until its node dies, or ``stop`` is called."""

    def __init__(self, node: Node, cookie: str) -> None:
        self._node, self._cookie = node, cookie
        self.acknowledged = -1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write_on)
        self._thread.start()

    def _write_on(self) -> None:
        for number in count():
            body = {"key": "n", "value": number}
            try:
                if post(self._node, "/api/set", self._cookie, body).status == 200:
                    self.acknowledged = number
            except (OSError, HTTPException):
                return
            if self._stop.is_set():
                return

    def stop(self) -> int:
        """Return what was acknowledged last."""
        self._stop.set()
        self._thread.join()
        return self.acknowledged


@pytest.mark.parametrize("victim", ["worker", "agent", "both"])
def test_kill_9_in_mid_write_loses_nothing_that_was_acknowledged(
    start_stored: StartStored, store: Server, victim: str
) -> None:
    first, second = pair(start_stored)
    cookie = log_in(first, "ann")
    writer = Writer(first, cookie)
    try:
        wait_for(lambda: carried(first) > 20, "direct writes")
        if victim == "agent":
            pid = agent_status(first)["agent_pid"]
            kill_hard([pid])
            so_far = writer.acknowledged
            wait_for(lambda: writer.acknowledged > so_far + 5, "writes to go on")
            wait_for(lambda: carried(first) > 0, "direct writes")
        elif victim == "worker":
            os.kill(first.program.pid, signal.SIGKILL)
        else:
            first.kill()
    finally:
        acknowledged = writer.stop()
    wait_for(lambda: data(second, cookie).get("n", -1) >= acknowledged, "the last write")
    assert data(second, cookie)["user"] == "ann"
    check_index(store)


def test_an_agent_that_is_started_by_hand(
    start_stored: StartStored, tmp_path: Path
) -> None:
    (first,) = start_stored((fastapi_under_uvicorn, "web1"))
    cookie = new_session(first, user="ann")
    first.stop()
    first.program.environment["CLUSTERSESSION_AGENT"] = "external"
    agent = Program(
        [sys.executable, "-m", "clustersession", "agent"], log_path=tmp_path / "agent.log",
        environment=first.program.environment,
    )
    agent.start()
    try:
        first.start()
        wait_for(lambda: is_reached(first), "the store to be reached")
        assert agent_status(first)["agent_pid"] == agent.pid
        assert data(first, cookie) == {"user": "ann"}
    finally:
        agent.stop()


def test_what_nobody_uses_leaves_and_comes_back(start_stored: StartStored) -> None:
    nodes = pair(start_stored, near_cache_idle_s=0.5, idle_timeout_s=60)
    cookie = new_session(nodes[0], user="ann")
    wait_for(lambda: agent_status(nodes[0])["sessions"] == 0, "the session to leave", 60.0)
    assert data(nodes[0], cookie) == {"user": "ann"}
    assert agent_status(nodes[0])["sessions"] == 1


def test_a_node_drains_and_says_so(start_stored: StartStored) -> None:
    first, second = pair(start_stored)
    cookie = new_session(first, user="ann")
    assert get(first, "/-/ready").status == 200
    done = drain(home(first), 10.0, lambda found: None)
    assert done == Drain(first.route, "draining", 1, {})
    assert get(first, "/-/ready").status == 503
    wait_for(lambda: agent_status(second)["members"][0]["phase"] == "draining", "the news of it")
    assert get(first, "/api/session", cookie).cookie == f"{cookie.partition('.')[0]}.web2"
    os.kill(first.program.pid, signal.SIGTERM)
    wait_for(lambda: agent_status(second)["members"][0]["status"] == "left", "the goodbye")
    reply = get(second, "/api/session", cookie)
    assert reply.data["data"] == {"user": "ann"}
    assert reply.cookie is not None
    assert reply.cookie.endswith(f".{second.route}")


def test_the_secret_is_rotated(start_stored: StartStored) -> None:
    first, second = pair(start_stored)
    cookie = new_session(first, user="ann")
    old, new = first.program.environment["CLUSTERSESSION_SECRET"], token_urlsafe(32)
    for accepted in (f"{old},{new}", f"{new},{old}"):
        for node in (first, second):
            node.program.stop()
            node.program.environment["CLUSTERSESSION_SECRET"] = accepted
            node.start()
            assert data(node, cookie) == {"user": "ann"}
            wait_for(lambda n=node: is_reached(n), f"{node.route} to reach the store")
    cookie = post(first, "/api/set", cookie, {"key": "n", "value": 1}).cookie or cookie
    eventually_holds(second, cookie, {"user": "ann", "n": 1})


def test_a_wrong_password_is_told_and_the_node_serves_what_it_has(
    start_stored: StartStored, store: Server
) -> None:
    first, _ = pair(start_stored)
    cookie = new_session(first, user="ann")
    first.stop()
    store.admin.config_set("requirepass", "right")
    first.start()
    assert data(first, cookie) == {"user": "ann"}
    wait_for(lambda: store_status(first).get("state") == "away", "the store to be refused")
    assert any("asks for a password" in line for line in first.log_lines())
    # Within agent_linger_s: the agent with the wrong one is still there.
    first.program.stop()
    first.program.environment |= environment({"store": f"unix://:right@{store.socket}"})
    first.start()
    wait_for(lambda: is_reached(first), "the store to be reached")
    assert data(first, cookie) == {"user": "ann"}


def test_a_reload_with_another_store_ends_with_an_agent_that_has_it(
    start_stored: StartStored, store: Server, tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    (before,) = start_stored((fastapi_under_uvicorn, "web1"))
    cookie = new_session(before, user="ann")
    with running(store.program, tmp_path_factory.mktemp("s")) as other:
        after = fastapi_under_uvicorn("web1", tmp_path, ClusterPorts())
        after.program.environment |= {
            **before.program.environment, **environment({"store": other.url})
        }
        try:
            after.start()
            wait_for(
                lambda: agent_status(after).get("workers_of_another_store"), "the agent to know"
            )
            assert "store was changed  processes " in status_text(agent_status(after))
            assert data(after, cookie) == {"user": "ann"}
            agent = agent_status(after)["agent_pid"]
            before.program.stop()
            wait_for(
                lambda: agent_status(after).get("agent_pid", agent) != agent and is_reached(after),
                "an agent with the other store",
            )
            assert data(after, cookie) == {"user": "ann"}
            assert agent_status(after)["workers_of_another_store"] == []
            wait_for(lambda: list(other.admin.scan_iter("*:s:*")), "the session to be there too")
        finally:
            after.program.stop()
    lines = "\n".join(before.log_lines())
    assert "the last process with this agent's setting store has gone" in lines


def test_all_sessions_of_a_user_end_on_all_hosts(store: Server, tmp_path: Path) -> None:
    with running_nodes(tmp_path, 2, store=store.url) as (first, second):
        cookies = [login(first.manager(), "ann") for _ in range(3)]
        bobs = login(first.manager(), "bob")
        assert second.manager().replica.sessions_of("ann") == [], "they are not here"
        second.sessions().end_all("ann")
        for cookie in cookies:
            wait_for(
                lambda c=cookie: not is_alive(first.manager(), c), "a session to end elsewhere"
            )
            assert not is_alive(second.manager(), cookie)
        assert is_alive(second.manager(), bobs)


def handles(node: Runtime, user: str) -> set[str]:
    """What a host lists of a user."""
    return {view.handle for view in node.sessions().sessions_of(user)}


def test_sessions_of_a_user_are_listed_on_all_hosts(store: Server, tmp_path: Path) -> None:
    with running_nodes(tmp_path, 2, store=store.url) as (first, second):
        for node in (first, second):
            for _ in range(2):
                login(node.manager(), "ann")
            login(node.manager(), "bob")
        for user, count in (("ann", 4), ("bob", 2), ("nobody", 0)):
            assert len(handles(first, user)) == count
            assert handles(second, user) == handles(first, user)
        [chosen, *_] = sorted(handles(first, "ann"))
        assert second.sessions().end(chosen, "ann")
        wait_for(lambda: len(handles(first, "ann")) == 3, "the end to be known")
        assert not any("ann" in str(name) for name in store.admin.scan_iter())


def test_the_oldest_session_beyond_the_limit_ends_wherever_it_was_made(
    store: Server, tmp_path: Path
) -> None:
    with running_nodes(
        tmp_path, 2, store=store.url, sessions_per_principal_max=2
    ) as (first, second):
        oldest, *others = login(first.manager(), "ann"), login(first.manager(), "ann")
        others.append(login(second.manager(), "ann"))
        wait_for(lambda: not is_alive(first.manager(), oldest), "the oldest to end")
        assert all(is_alive(n.manager(), cookie) for n in (first, second) for cookie in others)
        assert len(handles(first, "ann")) == 2


def test_all_sessions_of_a_user_end_but_the_present_one(store: Server, tmp_path: Path) -> None:
    with running_nodes(tmp_path, 2, store=store.url) as (first, second):
        others = [login(first.manager(), "ann") for _ in range(2)]
        present = opened(second.manager(), login(second.manager(), "ann"))
        assert second.sessions().end_all("ann", except_current=present) == 2
        for cookie in others:
            wait_for(lambda c=cookie: not is_alive(first.manager(), c), "a session to end")
        assert len(handles(first, "ann")) == 1


def test_lists_are_whole_again_after_flushall(store: Server, tmp_path: Path) -> None:
    with running_nodes(tmp_path, 2, store=store.url) as (first, second):
        for node in (first, second):
            login(node.manager(), "ann")
        store.admin.flushall()
        wait_for(
            lambda: len(handles(first, "ann")) == len(handles(second, "ann")) == 2,
            "both to list both",
        )


def test_while_the_store_is_away_a_host_lists_what_it_holds(
    store: Server, tmp_path: Path
) -> None:
    with running_nodes(tmp_path, 2, store=store.url) as (first, second):
        here = login(first.manager(), "ann")
        login(second.manager(), "ann")
        store.pause()
        try:
            for _ in range(3):
                began_s = time.monotonic()
                assert len(handles(first, "ann")) == 1
                assert time.monotonic() - began_s <= FETCH_TIMEOUT_S + SLACK_S
        finally:
            store.go_on()
        wait_for(lambda: len(handles(first, "ann")) == 2, "the store to answer again")
        store.kill()
        wait_for(lambda: not first.manager().cluster.gather("ann"), "the store to be away")
        assert is_alive(first.manager(), here)
        assert len(handles(first, "ann")) == 2, "it holds both by now"
        store.start()
        wait_for(lambda: len(handles(second, "ann")) == 2, "the store to be back")


def test_lists_are_whole_while_the_secret_is_rotated(store: Server, tmp_path: Path) -> None:
    old, new = token_urlsafe(32), token_urlsafe(32)
    secrets = ([old], [old, new]), ([old, new], [new, old]), ([new, old], [new])
    for round_, of_each in enumerate(secrets, 1):
        with ExitStack() as stack:
            nodes = [
                stack.enter_context(running_nodes(
                    tmp_path / str(number), 1, store=store.url, secret=secret,
                    route=f"node{number}",
                ))[0]
                for number, secret in enumerate(of_each)
            ]
            for node in nodes:
                login(node.manager(), f"ann{round_}")
            # Who has the new secret alone cannot read what the old one sealed.
            readers = nodes if round_ < 3 else nodes[:1]
            for node in readers:
                wait_for(
                    lambda n=node, r=round_: len(handles(n, f"ann{r}")) == 2, "both to be listed"
                )


def test_the_command_line_lists_the_sessions_of_all_hosts(
    store: Server, tmp_path: Path
) -> None:
    with running_nodes(tmp_path, 2, store=store.url) as (first, second):
        for node in (first, second):
            login(node.manager(), "ann")
        options = ["--state-dir", str(tmp_path), "--route", "node2"]

        def run(*words: str) -> str:
            command = [sys.executable, "-m", "clustersession", *options, *words]
            return subprocess.run(
                command, check=True, timeout=30, text=True, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            ).stdout

        assert "2 shown" in run("sessions", "--principal", "ann")
        third = login(first.manager(), "bob")
        assert "live" in run("show", third)
        store.pause()
        try:
            assert "what is shown is what this host holds" in run(
                "sessions", "--principal", "ann"
            )
        finally:
            store.go_on()


def test_a_session_that_no_host_holds_any_more_ends_with_the_others(
    store: Server, tmp_path: Path
) -> None:
    with running_nodes(tmp_path / "before", 1, store=store.url) as (node,):
        cookie = login(node.manager(), "ann")
    with running_nodes(tmp_path / "after", 2, store=store.url) as (first, second):
        second.sessions().end_all("ann")
        assert not is_alive(first.manager(), cookie)


def test_nodes_move_from_peers_to_a_store_and_nobody_is_logged_out(
    start_nodes: StartNodes, store: Server
) -> None:
    nodes = start_nodes(fastapi_under_uvicorn, "web1", "web2")
    cookies = {node.route: new_session(node, user=node.route) for node in nodes}
    for node in nodes:
        node.program.stop()
        node.program.environment |= environment({"store": store.url})
        node.start()
        for route, cookie in cookies.items():
            assert data(node, cookie) == {"user": route}
        wait_for(lambda n=node: is_reached(n), f"{node.route} to reach the store")
    for node in nodes:
        wait_for(lambda n=node: settled(n, 1), f"{node.route} to see the other")
    for node, other in (nodes, reversed(nodes)):
        cookie = cookies[node.route]
        cookie = post(node, "/api/set", cookie, {"key": "n", "value": 1}).cookie or cookie
        eventually_holds(other, cookie, {"user": node.route, "n": 1})
