"""What an older version wrote, the current tree reads, and it means the same."""

import asyncio
import platform
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clustersession.agent.start import decode_start, unknown_settings
from clustersession.core.errors import WireError
from clustersession.core.serving_view import View
from clustersession.net.cluster_certificate import Certificate
from clustersession.net.link_server import Link, LinkServer, dial
from clustersession.net.tls import TlsContexts, _context, tls_contexts
from clustersession.session.seen import SeenTokens
from clustersession.session.token import id_signer
from clustersession.tools.terminal import members_text, status_text
from clustersession.wire.envelope import Opened, Opener
from clustersession.wire.keys import ClusterKeys
from clustersession.wire.local import decode_answer, decode_request
from clustersession.wire.messages import Hello, check_version, decode_message
from clustersession.wire.proof import HelloProof
from clustersession.wire.records import decode_batch, decode_state
from clustersession.wire.values import decode_value, encode_value
from tests.versions import conversation, store
from tests.versions.conftest import Recording
from tests.versions.describing import describe, differences, spelled
from tests.versions.samples import CLUSTER_NAME, KEY, SECRETS

KEYS = ClusterKeys.derive(SECRETS, CLUSTER_NAME)


def expect_meanings(rows: list[dict[str, Any]], decode: Callable[[bytes], Any]) -> None:
    """Every row decodes to what is described beside it."""
    assert rows
    for row in rows:
        found = describe(decode(bytes.fromhex(row["bytes"])))
        assert not differences(row["meaning"], found), row["name"]


def test_messages(recording: Recording) -> None:
    expect_meanings(recording["messages"], decode_message)


def test_a_hello_is_accepted(recording: Recording) -> None:
    rows = [row for row in recording["messages"] if row["meaning"]["kind"] == "Hello"]
    assert rows
    for row in rows:
        hello = decode_message(bytes.fromhex(row["bytes"]))
        assert isinstance(hello, Hello)
        check_version(hello)


def test_records(recording: Recording) -> None:
    rows = recording["records"]
    expect_meanings([r for r in rows if r["meaning"]["kind"] == "SessionState"], decode_state)
    expect_meanings([r for r in rows if r["meaning"]["kind"] == "Batch"], decode_batch)


def test_datagrams(recording: Recording) -> None:
    opener = Opener(KEYS, CLUSTER_NAME)
    for row in recording["datagrams"]["datagrams"]:
        expected = Opened(
            bytes.fromhex(row["sender"]), row["epoch"], row["sequence"],
            bytes.fromhex(row["payload"]),
        )
        assert opener.open(bytes.fromhex(row["bytes"])) == expected


@pytest.mark.parametrize("old_dials", [True, False], ids=["old dials", "old answers"])
def test_an_old_node_and_we_greet_each_other(recording: Recording, old_dials: bool) -> None:
    part = recording["connections"]
    shown = Certificate(part["certificate"].encode(), part["private_key"].encode())
    old = TlsContexts(
        _context(ssl.PROTOCOL_TLS_SERVER, [shown]), _context(ssl.PROTOCOL_TLS_CLIENT, [shown])
    )
    ours = tls_contexts(KEYS)
    dialler, answerer = (old, ours) if old_dials else (ours, old)
    hello = bytes.fromhex(part["hello"])

    async def meet() -> tuple[bytes, bytes]:
        came: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        server = LinkServer(
            "127.0.0.1", 0, 1, answerer.server, lambda: hello, lambda data: data,
            came.set_result,
        )
        await server.start()
        try:
            link = await dial(*server.address, dialler.client, hello, lambda data: data, 5.0)
            links = (link, await asyncio.wait_for(came, 5.0))
            for end in links:
                end.abort("seen")
                await end.wait_closed()
            return links[0].hello, links[1].hello
        finally:
            await server.close()

    assert asyncio.run(meet()) == (hello, hello)


def test_proofs_in_hellos(recording: Recording) -> None:
    part = recording["connections"]
    dialler, answerer = part["dialler"].encode(), part["answerer"].encode()
    hello = bytes.fromhex(part["hello"])
    by_dialler = bytes.fromhex(part["proved_by_dialler"])
    by_answerer = bytes.fromhex(part["proved_by_answerer"])
    we_answer, we_dial = HelloProof(KEYS, answerer), HelloProof(KEYS, dialler)
    assert we_answer.check(by_dialler, dialler, we_dialled=False) == hello
    assert we_dial.check(by_answerer, answerer, we_dialled=True) == hello
    with pytest.raises(WireError):
        we_dial.check(by_dialler, answerer, we_dialled=True)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_a_conversation_comes_to_the_same(recording: Recording, name: str) -> None:
    events = conversation.load(recording.directory / "conversation.jsonl.gz")
    part = conversation.Part(events, name)
    assert not differences(part.expected, part.play())


def test_what_worker_and_agent_say(recording: Recording) -> None:
    part = recording["local"]
    expect_meanings(part["views"], View.decode)
    for decode, rows in ((decode_request, part["requests"]), (decode_answer, part["answers"])):
        assert rows
        for row in rows:
            decoded = describe(list(decode(bytes.fromhex(row["bytes"]))))
            assert decoded == row["meaning"], row["name"]


def test_the_status_of_an_old_agent_can_be_shown(recording: Recording) -> None:
    (status,) = (r["meaning"][1] for r in recording["local"]["answers"] if r["name"] == "status")
    assert "tomcat1" in status_text(status)
    assert "app_2" in members_text(status)


def test_an_old_worker_starts_our_agent(recording: Recording) -> None:
    start = recording["local"]["start"].encode()
    settings, home = decode_start(start)
    assert (settings.route, settings.secret) == ("tomcat1", SECRETS)
    assert home.directory == Path("/var/lib/app/shop.tomcat1")
    assert unknown_settings(start) == []


def test_cookies(recording: Recording) -> None:
    part = recording["cookies"]
    signer = id_signer(SECRETS, CLUSTER_NAME)
    for row in part["ids"]:
        assert signer.key_of(row["id"]) == row["key"]
    tokens = SeenTokens(signer)
    for row in part["seen"]:
        # A write numbered higher than the token has room for is not named.
        named = {node: seq for node, seq in row["meaning"].items() if seq < 2**48}
        assert describe(tokens.decode(KEY, [row["token"]])) == named


def test_values(recording: Recording) -> None:
    for row in recording["values"]:
        data = bytes.fromhex(row["bytes"])
        value = decode_value(data)
        assert spelled(value) == row["meaning"]
        assert encode_value(value) == data, "what an older version wrote would look changed"


def test_a_store(recording: Recording, tmp_path: Path) -> None:
    part = recording["store"]
    store.restore(part["tables"], part["boot"], tmp_path / "replica")
    expect_replica(part, tmp_path / "replica")


def test_a_store_in_the_file_of_lmdb(recording: Recording, tmp_path: Path) -> None:
    part = recording["store"]
    if platform.machine() != part["machine"]:
        pytest.skip(f"LMDB's own file was recorded on {part['machine']}")
    packed = recording.directory / "data.mdb.gz"
    store.restore_file(packed, part["boot"], tmp_path / "replica")
    expect_replica(part, tmp_path / "replica")


def expect_replica(part: dict[str, Any], directory: Path) -> None:
    """The current tree opens it in a later boot of the machine, and everything is there."""
    replica = store.open_replica(directory, "a later boot")
    try:
        assert replica.set_aside is None
        assert not differences(part["meaning"], store.meaning(replica))
        assert replica.sweep(store.WALL_MS + 10**9, 1_000) == len(part["meaning"]["sessions"])
    finally:
        replica.close()
