"""A server lets us in and gets ready, or says in one sentence what to change."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis

from clustersession.core.feed import Cursor
from clustersession.core.state import Ended, SessionState
from clustersession.net.store.refusals import COMMANDS_NEEDED
from clustersession.node.store_calls import (
    Beat,
    Enter,
    Forget,
    IndexEntry,
    KeepCursor,
    Merge,
    Read,
    ReadIndex,
)
from clustersession.store.library import MergeAnswer
from clustersession.tools.demo.processes import free_port
from tests.net.store.owner import (
    FAR_MS,
    NODE,
    calls_of,
    connected,
    connecting,
    eventually,
    refused,
    state,
)
from tests.store.servers import Server, required, running
from tests.support.certificates import Authority

PATTERN = calls_of().keys.pattern
NUMBERS = count()


@pytest.fixture
def closed(server: Server) -> Server:
    """A server with a password that must not be seen anywhere."""
    server.admin.acl_setuser("default", enabled=True, passwords=["+s3cr3t"])
    server.admin.close()
    server.admin = redis.Redis(unix_socket_path=str(server.socket), password="s3cr3t")
    return server


def with_login(server: Server, login: str, query: str = "") -> str:
    return f"unix://{login}@{server.socket}{query}"


async def works(url: str, **more: object) -> None:
    async with connected(url, **more) as owner:
        key = f"k{next(NUMBERS)}"
        group = (Merge(key, state(), True), Read(key), KeepCursor(NODE, Cursor(1, 1, 1)))
        assert (await owner.ask(*group, Beat(NODE, b"x")))[:3] == [MergeAnswer.DONE, state(), None]


async def test_passwords(closed: Server) -> None:
    await works(with_login(closed, ":s3cr3t"))
    await works(with_login(closed, "default:s3cr3t"))
    closed.admin.acl_setuser("pü@:/", enabled=True, passwords=["+a:b@/?#%ü "],
                             keys=["*"], channels=["*"], categories=["+@all"])
    await works(with_login(closed, f"{quote('pü@:/', safe='')}:{quote('a:b@/?#%ü ', safe='')}"))


async def test_wrong_and_missing_passwords(closed: Server) -> None:
    for url, words in (
        (with_login(closed, ":wr0ng"), "refuses user and password"),
        (with_login(closed, "nobody:wr0ng"), "refuses user and password"),
        (closed.url, "asks for a password; write one into the setting store"),
    ):
        reason = await refused(url)
        assert words in reason
        assert "wr0ng" not in reason


async def test_a_password_is_changed_without_a_restart(closed: Server, tmp_path: Path) -> None:
    """First both are good, then the file is written, and connections that come later have it."""
    file = tmp_path / "password"
    file.write_text("s3cr3t\n")
    async with connected(f"{closed.url}?password_file={file}") as owner:
        closed.admin.acl_setuser("default", enabled=True, passwords=["+n3w"])
        file.write_text("n3w")
        closed.admin.acl_setuser("default", enabled=True, passwords=["-s3cr3t"])
        closed.admin.close()
        closed.admin = redis.Redis(unix_socket_path=str(closed.socket), password="n3w")
        closed.admin.execute_command("CLIENT", "KILL", "TYPE", "normal")
        await eventually(lambda: len(owner.all("up")) == 2, 5.0, owner)
    file.unlink()
    assert "cannot be read: No such file" in await refused(f"{closed.url}?password_file={file}")


async def test_databases(empty: Server) -> None:
    await works(f"{empty.url}?db=3")
    assert not empty.admin.dbsize()
    assert "has no such database; mend the number" in await refused(f"{empty.url}?db=99")


TAG, ENTRY = b"t" * 16, IndexEntry("k", (1, NODE, 1))
RIGHTS = ["on", ">s3cr3t", f"~{PATTERN}"]


async def test_a_user_with_the_rights_that_errors_tell(server: Server) -> None:
    server.admin.execute_command("ACL", "SETUSER", "shop", *RIGHTS, *COMMANDS_NEEDED.split())
    await works(with_login(server, "shop:s3cr3t"), replicas=1)
    await works(with_login(server, "shop:s3cr3t", "?db=1"))
    # Also where the library is not there yet, and where an administrator has loaded it.
    server.admin.execute_command("ACL", "SETUSER", "shop", "-function")
    await works(with_login(server, "shop:s3cr3t"))


async def test_each_missing_right_is_told_with_the_rule_that_gives_it(server: Server) -> None:
    needed = [each for each in COMMANDS_NEEDED.split()
              if each not in ("+hello", "+auth", "+asking", "+cluster|slots", "+info",
                              "+del")]
    # Without the last one workers have their writes confirmed through the agent.
    optional = {"+function|load", "+script|load", "+fcall", "+evalsha", "+wait", "+select",
                "+hmget"}
    for missing in needed:
        if missing in optional:
            continue
        server.admin.flushall()
        server.admin.execute_command("ACL", "SETUSER", "shop", "reset", *RIGHTS,
                                     *(each for each in COMMANDS_NEEDED.split() if each != missing))
        async with connected_or_not(with_login(server, "shop:s3cr3t")) as reasons:
            assert reasons, missing
            assert f"ACL SETUSER shop on ~{PATTERN} +hello" in reasons[0], (missing, reasons)
            assert "s3cr3t" not in reasons[0]


async def test_no_right_to_wait_for_replicas(server: Server) -> None:
    server.admin.execute_command("ACL", "SETUSER", "shop", *RIGHTS, *COMMANDS_NEEDED.split(),
                                 "-wait")
    async with connected(with_login(server, "shop:s3cr3t"), replicas=1) as owner:
        owner.send(Merge("k", state(), True))
        await eventually(lambda: owner.reasons, 5.0, owner)
        assert "+wait" in owner.reasons[0]


async def test_no_right_to_our_keys(server: Server) -> None:
    server.admin.execute_command("ACL", "SETUSER", "shop", "on", ">s3cr3t", "~blog:*",
                                 *COMMANDS_NEEDED.split())
    async with connected_or_not(with_login(server, "shop:s3cr3t")) as reasons:
        assert f"~{PATTERN}" in reasons[0]


@asynccontextmanager
async def connected_or_not(url: str) -> AsyncIterator[list[str]]:
    async with connecting(url) as owner:
        await eventually(lambda: owner.told, 5.0, owner)
        ended = SessionState(1, 2, FAR_MS, {}, {NODE: 2}, Ended(1, NODE, "gone"))
        numbers = [
            owner.send(Merge("k", state(), True), Merge("k", ended, True), Read("k")),
            owner.send(Enter(TAG, ENTRY, FAR_MS), ReadIndex(TAG), Forget(TAG, [ENTRY])),
            owner.send(KeepCursor(NODE, Cursor(1, 1, 1)), Beat(NODE, b"x"), Beat(NODE, b"")),
        ] if owner.all("up") else []
        await eventually(lambda: owner.reasons or (numbers and numbers[-1] in owner.answers))
        yield owner.reasons


async def test_scripts_serve_where_functions_are_not_to_be_had(server: Server) -> None:
    server.admin.function_flush()
    server.admin.execute_command("ACL", "SETUSER", "shop", *RIGHTS, *COMMANDS_NEEDED.split(),
                                 "-function", "-fcall")
    await works(with_login(server, "shop:s3cr3t"))
    async with connected(with_login(server, "shop:s3cr3t")) as one, connected(server.url) as two:
        await one.ask(Merge("s", state(), True))
        await two.ask(Merge("s", state(at=2), True))
        await eventually(lambda: one.changed == {"s"}, 5.0, one)
        # Whoever removes them all breaks the connection, which puts them back.
        server.admin.script_flush()
        one.send(Merge("s", state(at=3), True))
        await eventually(lambda: len(one.all("up")) == 2, 5.0, one)
        assert await one.ask(Merge("s", state(at=3), True)) == [MergeAnswer.DONE]


async def test_neither_functions_nor_scripts(server: Server) -> None:
    server.admin.function_flush()
    server.admin.execute_command("ACL", "SETUSER", "shop", *RIGHTS, *COMMANDS_NEEDED.split(),
                                 "-function", "-script", "-fcall")
    assert "forbids what is needed" in await refused(with_login(server, "shop:s3cr3t"))


async def test_a_replica_is_refused(server: Server) -> None:
    server.admin.replicaof("127.0.0.1", "1")
    assert "is a read-only replica; name the primary" in await refused(server.url)


async def test_a_primary_that_becomes_a_replica_is_given_up(server: Server) -> None:
    async with connected(server.url) as owner:
        server.admin.replicaof("127.0.0.1", "1")
        owner.send(Merge("k", state(), True))
        await eventually(lambda: any("read-only replica" in said for said in owner.reasons))
        server.admin.replicaof("NO", "ONE")
        await eventually(lambda: len(owner.all("up")) == 2, 10.0, owner)


async def test_no_more_clients(server: Server) -> None:
    server.admin.config_set("maxclients", "1")
    assert "maxclients" in await refused(server.url)


async def test_nobody_is_there(tmp_path: Path) -> None:
    reason = await refused(f"unix://{tmp_path}/none")
    assert "is not there: nobody listens at that path" in reason
    assert "unixsocket" in reason
    port = free_port()
    reason = await refused(f"valkey://127.0.0.1:{port}")
    assert f"127.0.0.1:{port} is not there: nobody listens; start it, or mend" in reason
    assert "bind" in reason
    assert "cannot be resolved" in await refused("valkey://no-such-host.invalid")


# TLS, which the Valkey of the tests does not have


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whoever signs the certificates of the tests."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def encrypted(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, int]]:
    """A server with TLS, and its port."""
    program = required("redis")
    files = authority.files("127.0.0.1", address="127.0.0.1")
    port = free_port()
    with running(
        program, tmp_path_factory.mktemp("s"), "--tls-port", str(port), "--bind", "127.0.0.1",
        "--tls-cert-file", files["tls_certificate"], "--tls-key-file", files["tls_key"],
        "--tls-ca-cert-file", files["tls_ca"], "--tls-auth-clients", "optional",
    ) as server:
        yield server, port


async def test_tls_with_an_authority_of_ones_own(
    encrypted: tuple[Server, int], authority: Authority
) -> None:
    port = encrypted[1]
    for scheme in ("valkeys", "rediss"):
        await works(f"{scheme}://127.0.0.1:{port}?ca={authority.ca_path}")


def test_tls_in_both_event_loops(
    encrypted: tuple[Server, int], authority: Authority,
    run: Callable[[Coroutine[Any, Any, Any]], Any],
) -> None:
    run(works(f"valkeys://127.0.0.1:{encrypted[1]}?ca={authority.ca_path}"))


async def test_certificates_that_are_not_trusted(
    encrypted: tuple[Server, int], authority: Authority, tmp_path: Path
) -> None:
    port, stranger = encrypted[1], Authority(tmp_path)
    for url in (
        f"valkeys://127.0.0.1:{port}", f"valkeys://127.0.0.1:{port}?ca={stranger.ca_path}",
        f"valkeys://localhost:{port}?ca={authority.ca_path}",
    ):
        assert "shows a certificate that is not trusted" in await refused(url)


async def test_a_certificate_of_ours_where_one_is_asked_for(
    encrypted: tuple[Server, int], authority: Authority
) -> None:
    (server, port), files = encrypted, authority.files("client")
    server.admin.config_set("tls-auth-clients", "yes")
    try:
        url = f"valkeys://127.0.0.1:{port}?ca={authority.ca_path}"
        # Under TLS 1.3 it says so, or just closes.
        assert "add ?certificate=...&key=..." in await refused(url)
        await works(f"{url}&certificate={files['tls_certificate']}&key={files['tls_key']}")
    finally:
        server.admin.config_set("tls-auth-clients", "optional")


async def test_tls_and_none_mistaken_for_each_other(
    encrypted: tuple[Server, int], authority: Authority, program: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    assert "speak TLS only: then write valkeys://" in await refused(
        f"valkey://127.0.0.1:{encrypted[1]}"
    )
    port = free_port()
    with running(program, tmp_path_factory.mktemp("s"), "--bind", "127.0.0.1", port=port):
        assert f"127.0.0.1:{port} speaks no TLS there; write valkey://" in await refused(
            f"valkeys://127.0.0.1:{port}", connect_timeout_s=60.0
        )
        # Before it is tried without.
        assert "if it speaks no TLS, write valkey://" in await refused(
            f"valkeys://127.0.0.1:{port}", connect_timeout_s=0.5
        )


async def test_what_says_nothing_at_all_is_not_taken_for_a_server_without_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "does not answer in time" in await refused(
            f"valkeys://127.0.0.1:{port}", connect_timeout_s=2.0
        )


async def test_an_ordinary_server_in_the_place_of_sentinels(
    program: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    port = free_port()
    with running(program, tmp_path_factory.mktemp("s"), "--bind", "127.0.0.1", port=port):
        for login in ("", "?sentinel_password=pw"):
            assert f"127.0.0.1:{port} is no Sentinel; write valkey://" in await refused(
                f"valkey+sentinel://127.0.0.1:{port}/primary{login}"
            )


async def test_files_that_do_not_work(tmp_path: Path, authority: Authority) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    for query, words in (
        (f"ca={tmp_path}/none", "the ca of the setting store"),
        (f"ca={bad}", "the ca of the setting store"),
        (f"ca={authority.ca_path}&certificate={bad}&key={bad}", "certificate or key"),
    ):
        reason = await refused(f"valkeys://127.0.0.1:1?{query}")
        assert words in reason
        assert "cannot be used" in reason


# What servers say that the tests cannot bring real ones to say


@asynccontextmanager
async def saying(reply: bytes, directory: Path) -> AsyncIterator[str]:
    """A server that says the same to everything."""
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            writer.write(reply * 4)
        writer.close()

    server = await asyncio.start_unix_server(serve, directory / "fake")
    try:
        yield f"unix://{directory}/fake"
    finally:
        server.close()


HELLO = (
    b"%%5\r\n+server\r\n+redis\r\n+version\r\n+%b\r\n+proto\r\n:3\r\n+mode\r\n+%b\r\n+role\r\n"
    b"+master\r\n"
)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "is loading its data"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "has lost its primary"),
        (b"-MISCONF Errors writing to the AOF file\r\n", "cannot save to its disk"),
        (b"-CLUSTERDOWN The cluster is down\r\n", "of which a part is down"),
        (b"-BUSY Redis is busy running a script.\r\n", "is busy with somebody's script"),
        (b"-NOPROTO unsupported protocol version\r\n", "is too old; it must be Valkey 7.2"),
        (b"-DENIED Redis is running in protected mode\r\n", "protected mode"),
        (b"-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 's3cr3t'\r\n",
         "does not know a command"),
        (b"-SOMETHING \x1b[2J\xff new\r\n", "answers what is not expected"),
        (HELLO % (b"6.2.14", b"standalone"), "is of version 6.2.14; it must be Valkey 7.2"),
        (HELLO % (b"7.4.0", b"cluster"), "write valkey+cluster://"),
        (HELLO % (b"7.4.0", b"sentinel"), "write valkey+sentinel://"),
        (b"+OK\r\n", "does not speak RESP3"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak RESP3"),
    ],
)
async def test_what_a_server_says_is_explained(reply: bytes, words: str, tmp_path: Path) -> None:
    async with saying(reply, tmp_path) as url:
        reason = await refused(url)
    assert words in reason
    assert "s3cr3t" not in reason
    assert reason.isprintable()
