"""A worker's own connections: to the run that the agent has, for threads, loops, after a fork."""

import asyncio
import gc
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from clustersession.core.errors import StoreError
from clustersession.net.store.connection import StoreLimits
from clustersession.net.store.direct_links import DirectLinkPool, LoopConnections
from clustersession.net.store.grant import Grant
from clustersession.net.store.refusals import COMMANDS_NEEDED
from clustersession.net.store.resp import ErrorReply, command
from clustersession.settings.store_url import parse_store_url
from clustersession.tools.demo.processes import free_port
from tests.net.store.owner import calls_of
from tests.store.servers import Server, required, running
from tests.support.certificates import Authority

HLEN = command("HLEN", "clustersession:shop:n:{n}:members")
LIMITS = StoreLimits(connect_timeout_s=2.0, silence_timeout_s=2.0)


def grant_of(server: Server, host: str = "", port: int = 0, run_id: str = "") -> Grant:
    info: Any = server.admin.info("server")
    return Grant(1, b"n" * 8, host or str(server.socket), port, run_id or info["run_id"], b"")


def clients_of(server: Server) -> int:
    """How many are connected, us not counted."""
    return len(server.admin.client_list()) - 1


@pytest.fixture
def pool(empty: Server) -> Iterator[DirectLinkPool]:
    pool = DirectLinkPool(parse_store_url(empty.url))
    yield pool
    pool.close()


def test_a_link_is_used_again(empty: Server, pool: DirectLinkPool) -> None:
    grant, before = grant_of(empty), clients_of(empty)
    for _ in range(5):
        assert pool.ask(grant, HLEN, 1.0, 1.0) == 0
    assert clients_of(empty) == before + 1
    pool.close()


def test_threads_have_a_link_each(empty: Server, pool: DirectLinkPool) -> None:
    grant, answers = grant_of(empty), []
    threads = [
        threading.Thread(target=lambda: answers.append(pool.ask(grant, HLEN, 2.0, 2.0)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [0] * 8


def test_another_run_than_the_agents_is_refused(empty: Server, pool: DirectLinkPool) -> None:
    with pytest.raises(StoreError, match="is not the one that the agent has"):
        pool.ask(grant_of(empty, run_id="f" * 40), HLEN, 1.0, 1.0)
    assert pool.ask(grant_of(empty), HLEN, 1.0, 1.0) == 0
    with pytest.raises(StoreError, match="is not the one that the agent has"):
        pool.ask(grant_of(empty, run_id="f" * 40), HLEN, 1.0, 1.0)


def test_a_server_that_was_started_again_is_another_one(server: Server) -> None:
    pool, grant = DirectLinkPool(parse_store_url(server.url)), grant_of(server)
    assert pool.ask(grant, HLEN, 1.0, 1.0) == 0
    server.kill()
    server.start()
    for _ in range(2):
        with pytest.raises((OSError, StoreError)):
            pool.ask(grant, HLEN, 1.0, 1.0)
    assert pool.ask(grant_of(server), HLEN, 1.0, 1.0) == 0
    pool.close()


def test_a_server_that_stands_still_is_not_waited_for(server: Server) -> None:
    pool, grant = DirectLinkPool(parse_store_url(server.url)), grant_of(server)
    assert pool.ask(grant, HLEN, 1.0, 1.0) == 0
    server.pause()
    try:
        for _ in range(2):
            with pytest.raises(OSError, match=r"timed out|temporarily unavailable"):
                pool.ask(grant, HLEN, 0.05, 0.05)
    finally:
        server.go_on()
    assert pool.ask(grant, HLEN, 1.0, 1.0) == 0, "the answer that came late is nobody's"
    pool.close()


def test_a_child_of_a_fork_connects_itself(empty: Server, pool: DirectLinkPool) -> None:
    grant = grant_of(empty)
    assert pool.ask(grant, command("CLIENT", "ID"), 1.0, 1.0) > 0
    mine = pool.ask(grant, command("CLIENT", "ID"), 1.0, 1.0)
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writes, b"%d" % pool.ask(grant, command("CLIENT", "ID"), 1.0, 1.0))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writes)
    with os.fdopen(reads, "rb") as told:
        assert int(told.read()) != mine
    assert pool.ask(grant, command("CLIENT", "ID"), 1.0, 1.0) == mine, "ours is as it was"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def encrypted(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, int, str]]:
    """A server with TLS and a user with the rights that we ask for, its port, and the URL."""
    files, port = authority.files("127.0.0.1", address="127.0.0.1"), free_port()
    with running(
        required("redis"), tmp_path_factory.mktemp("s"), "--tls-port", str(port),
        "--bind", "127.0.0.1", "--tls-cert-file", files["tls_certificate"],
        "--tls-key-file", files["tls_key"], "--tls-ca-cert-file", files["tls_ca"],
        "--tls-auth-clients", "optional",
    ) as server:
        pattern = calls_of().keys.pattern
        server.admin.execute_command(
            "ACL", "SETUSER", "shop", "on", ">s3cr3t", f"~{pattern}", *COMMANDS_NEEDED.split()
        )
        url = f"valkeys://shop:s3cr3t@127.0.0.1:{port}/2?ca={authority.ca_path}"
        yield server, port, url


def test_tls_a_login_and_a_database(encrypted: tuple[Server, int, str]) -> None:
    server, port, url = encrypted
    pool = DirectLinkPool(parse_store_url(url))
    grant = grant_of(server, "127.0.0.1", port)
    assert pool.ask(grant, HLEN, 2.0, 2.0) == 0
    [client] = [each for each in server.admin.client_list() if each["user"] == "shop"]
    assert client["db"] == "2"
    refused = pool.ask(grant, command("KEYS", "*"), 2.0, 2.0)
    assert isinstance(refused, ErrorReply)
    assert refused.code == "NOPERM"
    pool.close()


def test_a_login_that_is_refused(encrypted: tuple[Server, int, str]) -> None:
    server, port, url = encrypted
    pool = DirectLinkPool(parse_store_url(url.replace("s3cr3t", "wr0ng")))
    with pytest.raises(StoreError) as refused:
        pool.ask(grant_of(server, "127.0.0.1", port), HLEN, 2.0, 2.0)
    assert "wr0ng" not in str(refused.value)


def test_loops_have_a_connection_each_as_long_as_they_run(
    encrypted: tuple[Server, int, str], run: Callable[[Coroutine[Any, Any, Any]], Any]
) -> None:
    server, port, url = encrypted
    connections = LoopConnections(parse_store_url(url), LIMITS)
    grant = grant_of(server, "127.0.0.1", port)

    async def ask() -> int:
        answers = [await connections.ask(grant, HLEN, 2.0) for _ in range(3)]
        answers += await asyncio.gather(*(connections.ask(grant, HLEN, 2.0) for _ in range(5)))
        assert answers == [0] * 8
        return clients_of(server)

    before = clients_of(server)
    assert run(ask()) == before + 1
    assert run(ask()) <= before + 2
    connections.close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_loop_that_is_closed_without_more_ado_is_forgotten_with_the_next_connection(
    empty: Server
) -> None:
    connections = LoopConnections(parse_store_url(empty.url), LIMITS)
    for _ in range(5):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(connections.ask(grant_of(empty), HLEN, 2.0)) == 0
        loop.close()
        del loop
    gc.collect()
    assert len(connections._connections) == 1
    connections.close()
    gc.collect()


async def test_whoever_comes_while_a_connection_is_made_does_not_wait(empty: Server) -> None:
    connections = LoopConnections(parse_store_url(empty.url), LIMITS)
    asked = [connections.ask(grant_of(empty), HLEN, 2.0) for _ in range(3)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert answers.count(0) == 1
    assert sum(isinstance(answer, StoreError) for answer in answers) == 2
    connections.close()


async def test_a_loop_does_not_wait_for_a_server_that_stands_still(server: Server) -> None:
    connections = LoopConnections(parse_store_url(server.url), LIMITS)
    grant = grant_of(server)
    assert await connections.ask(grant, HLEN, 2.0) == 0
    server.pause()
    try:
        with pytest.raises(StoreError, match="in time"):
            await connections.ask(grant, HLEN, 0.05)
    finally:
        server.go_on()
    assert await connections.ask(grant, HLEN, 2.0) == 0
    connections.close()


async def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    grant = Grant(1, b"n" * 8, str(tmp_path / "none"), 0, "f" * 40, b"")
    url = parse_store_url(f"unix://{tmp_path}/none")
    with pytest.raises(FileNotFoundError):
        DirectLinkPool(url).ask(grant, HLEN, 1.0, 1.0)
    with pytest.raises(StoreError):
        await LoopConnections(url, LIMITS).ask(grant, HLEN, 1.0)
