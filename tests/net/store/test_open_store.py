"""Several servers make one store: Clusters, Sentinels, and what follows what."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from clustersession.core.feed import Cursor
from clustersession.node.store_calls import Beat, KeepCursor, Merge, Read
from clustersession.store.keys import slot_of
from clustersession.store.library import MergeAnswer
from clustersession.tools.demo.processes import free_port
from tests.net.store.owner import (
    NODE,
    OTHER,
    calls_of,
    connected,
    connecting,
    eventually,
    refused,
    state,
)
from tests.store.servers import Server, cluster, follows, has_all, running, watching_for

KEYS = calls_of().keys


@pytest.fixture(scope="module")
def three(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """A Cluster."""
    with cluster(program, tmp_path_factory.mktemp("c"), 3) as servers:
        yield servers


def cluster_url(servers: list[Server]) -> str:
    return "valkey+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers)


async def test_a_cluster_is_one_store(three: list[Server]) -> None:
    async with connected(cluster_url(three[:1])) as one, connected(cluster_url(three[1:])) as two:
        sessions = [f"k{number}" for number in range(60)]
        merged = await one.ask(
            KeepCursor(NODE, Cursor(0, 2, 3)), *(Merge(key, state(), True) for key in sessions),
            KeepCursor(NODE, Cursor(1, 2, 3)), Beat(NODE, b"one"),
        )  # fmt: skip
        assert merged[1:61] == [MergeAnswer.DONE] * 60
        assert merged[62].cursor == Cursor(1, 2, 3)
        for server in three:
            assert server.admin.dbsize()
        assert await two.ask(*(Read(key) for key in sessions)) == [state()] * 60
        assert (await two.ask(Beat(OTHER, b"two")))[0].members[NODE][0] == b"one"
        await two.ask(*(Merge(key, state(at=2), False) for key in sessions))
        await eventually(lambda: one.changed == set(sessions), 5.0, one)


async def test_slots_that_move_are_followed(three: list[Server]) -> None:
    key = "wanders"
    slot = slot_of(KEYS.session(key))
    owner_of = {server: slot in slots(server) for server in three}
    [source] = [server for server, has in owner_of.items() if has]
    target = next(server for server in three if server is not source)
    async with connected(cluster_url(three)) as one:
        await one.ask(Merge(key, state(), True))
        ids = {s: s.admin.execute_command("CLUSTER", "MYID").decode() for s in three}
        target.admin.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        source.admin.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        # Half way: what is still there is answered there, for the rest we are sent on (ASK).
        assert await one.ask(Read(key)) == [state()]
        one.told.clear()
        source.admin.execute_command(
            "MIGRATE", "127.0.0.1", target.port, KEYS.session(key), 0, 5000
        )
        await eventually(lambda: one.changed == {key}, 5.0, one)
        group = (Read(key), Merge(key, state(at=2), False), Read(key))
        assert await one.ask(*group) == [state(), MergeAnswer.DONE, state(at=2)]
        for server in (target, source, *three):
            server.admin.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
        # From now on it is there (MOVED).
        assert await one.ask(Merge(key, state(at=3), False)) == [MergeAnswer.DONE]
        assert not one.reasons
        async with connected(cluster_url(three)) as two:
            await two.ask(Merge(key, state(at=4), False))
        one.told.clear()
        await one.ask(Read(key))


def slots(server: Server) -> set[int]:
    found: set[int] = set()
    me = server.admin.execute_command("CLUSTER", "MYID").decode()
    for first, last, (_, _, node, *_), *_ in server.admin.execute_command("CLUSTER", "SLOTS"):
        if node.decode() == me:
            found |= set(range(first, last + 1))
    return found


async def test_a_server_of_a_cluster_is_lost_and_comes_back(
    program: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with cluster(program, tmp_path_factory.mktemp("c"), 3) as servers:
        async with connected(cluster_url(servers)) as owner:
            await owner.ask(Merge("k", state(), True))
            servers[2].kill()
            await eventually(lambda: owner.reasons, 5.0, owner)
            servers[2].start()
            await eventually(lambda: len(owner.all("up")) == 2, 20.0, owner)
            assert await owner.ask(Merge("l", state(), True)) == [MergeAnswer.DONE]
            # As long as a part was missing it was not called there.
            assert not [said for said in owner.reasons[1:] if "closed" in said]


async def test_urls_that_mistake_one_for_the_other(
    three: list[Server], program: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    single = f"valkey://127.0.0.1:{three[0].port}"
    assert "write valkey+cluster:// in the setting store" in await refused(single)
    port = free_port()
    with running(program, tmp_path_factory.mktemp("s"), "--bind", "127.0.0.1", port=port):
        assert "is no Cluster; write valkey://" in await refused(
            f"valkey+cluster://127.0.0.1:{port}"
        )


async def test_sentinels_name_the_primary_and_its_successor(
    program: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("f")
    ports = [free_port() for _ in range(3)]
    loopback = ("--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
    with (
        running(program, directory / "1", *loopback, port=ports[0]) as first,
        running(program, directory / "2", *loopback, "--replicaof", "127.0.0.1", str(ports[0]),
                port=ports[1]) as second,
    ):
        await eventually(lambda: follows(second))
        with running(program, directory / "3", "--bind", "127.0.0.1", port=ports[2],
                     sentinel=watching_for(ports[0])) as watching:
            dead = free_port()
            url = f"valkey+sentinel://127.0.0.1:{dead},127.0.0.1:{ports[2]}/mymaster"
            async with connected(url, replicas=1) as owner:
                await owner.ask(Merge("k", state(), True))
                # The replica has it, sooner or later within the time that is waited.
                for at in range(2, 12):
                    owner.told = [("up", None)]
                    await owner.ask(Merge("k", state(at=at), True))
                    if not owner.all("warned"):
                        break
                assert not owner.all("warned")
                # Who has warned does not wait for a while, and does not warn then.
                await eventually(lambda: has_all(second, of=first))
                await eventually(lambda: watching.admin.execute_command(
                    "SENTINEL", "REPLICAS", "mymaster"
                ))  # fmt: skip
                began_s = time.monotonic()
                first.kill()
                await eventually(lambda: len(owner.all("up")) == 2, 30.0, owner)
                took_s = time.monotonic() - began_s
                assert took_s < 20
                assert await owner.ask(Read("k")) == [state(at=at)]
            assert "watches no primary named other" in await refused(
                f"valkey+sentinel://127.0.0.1:{ports[2]}/other"
            )
            assert "is a Sentinel; write valkey+sentinel://" in await refused(
                f"valkey://127.0.0.1:{ports[2]}"
            )


# What real servers say too seldom


@asynccontextmanager
async def scripted(
    answer: Callable[[bytes], bytes], directory: Path
) -> AsyncIterator[str]:
    """A server that greets as a real one does, and answers to the rest what a test wants."""
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**20):
            if b"HELLO" in data:
                writer.write(b"%1\r\n+role\r\n+master\r\n+OK\r\n:0\r\n")
            elif b"FUNCTION" in data or b"INFO" in data:
                writer.write(b"$2\r\nOK\r\n")
            else:
                writer.write(answer(data))
        writer.close()

    server = await asyncio.start_unix_server(serve, directory / "fake")
    try:
        yield f"unix://{directory}/fake"
    finally:
        server.close()


async def test_a_change_is_not_told_before_the_answer_that_it_came_behind(tmp_path: Path) -> None:
    """Else its owner, who does not hold the session yet, would keep the copy of before for good."""
    name = KEYS.session("k")
    push = b">2\r\n+invalidate\r\n*1\r\n$%d\r\n%b\r\n" % (len(name), name)
    async with scripted(lambda data: b"%0\r\n" + push, tmp_path) as url:
        async with connected(url) as owner:
            number = owner.send(Read("k"))
            await eventually(lambda: owner.changed, 5.0, owner)
            assert owner.told[-2:] == [("answered", number), ("changed", frozenset({"k"}))]


HOSTILE = [
    b":7\r\n", b"$-1\r\n", b"*0\r\n", b"+OK\r\n", b"%1\r\n:1\r\n:1\r\n", b"%1\r\n*0\r\n:1\r\n",
    b"-MOVED 1 127.0.0.1:1\r\n", b"-ASK 99999 :1\r\n", b"*4\r\n:1\r\n$0\r\n\r\n_\r\n:1\r\n",
    b"*4\r\n:-1\r\n$0\r\n\r\n_\r\n*0\r\n", b"*4\r\n:1\r\n$0\r\n\r\n_\r\n*1\r\n:1\r\n",
    b"$99999999999\r\n", b"*99999999\r\n", b":1\r\n:1\r\n:1\r\n", b"\r\n", b"?\r\n",
    b"*1\r\n" * 20, b"$1\r\nxyz", b"\0" * 100,
]  # fmt: skip


@pytest.mark.parametrize("said", HOSTILE)
async def test_whatever_a_store_says_it_is_answered_lost_or_waited_for(
    said: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with scripted(lambda data: said, tmp_path) as url:
        async with connecting(url, silence_timeout_s=0.3) as owner:
            await eventually(lambda: owner.all("up"), 5.0, owner)
            for call in (Read("k"), Merge("k", state(), True), Beat(NODE, b"x")):
                await eventually(lambda: owner.client and owner.client.is_up, 10.0, owner)
                before = len(owner.told)
                owner.send(call)
                await eventually(lambda: len(owner.told) > before, 5.0, owner)  # noqa: B023
    assert not caplog.records
