"""Versions to come, played to the current tree: it ignores what it does not know, and goes on."""

import json
from pathlib import Path

import msgpack
import pytest

from clustersession.agent.start import decode_start, unknown_settings
from clustersession.core.errors import OtherVersion
from clustersession.core.identity import Phase
from clustersession.core.serving_view import View
from clustersession.node import news
from clustersession.node.moment import Moment
from clustersession.replica.engines.lmdb import directory as directories
from clustersession.wire import messages as m
from clustersession.wire.envelope import DatagramDropped, DropReason, Opener, Sealer
from clustersession.wire.keys import ClusterKeys
from clustersession.wire.records import decode_state
from tests.versions import conversation, later
from tests.versions.conftest import Recording
from tests.versions.describing import describe, differences
from tests.versions.samples import CLUSTER_NAME, SECRETS, A, messages


def test_messages_that_have_grown_mean_the_same(newest: Recording) -> None:
    for message in messages().values():
        data = later.grown_message(newest.reader.formats, m.encode_message(message))
        assert later.NEW[0].encode() in data
        assert m.decode_message(data) == message


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_a_conversation_with_later_versions(newest: Recording, name: str) -> None:
    """Every message of the peers has grown, and after each comes one of an unknown kind."""
    part = conversation.Part(
        conversation.load(newest.directory / "conversation.jsonl.gz"), name
    )
    heard = 0

    def change(data: bytes) -> bytes:
        nonlocal heard
        heard += 1
        peer = next(iter(part.engine.context.peers), b"stranger")
        at = Moment(part.now_s, conversation.worlds.WALL_START_MS + int(part.now_s * 1000))
        part.engine.receive(peer, later.UNKNOWN_MESSAGES[heard % 2], at, reliable=heard % 3 > 0)
        return later.grown_message(newest.reader.formats, data)

    assert not differences(part.expected, part.play(change))
    dropped = [event.reason for event in part.events if isinstance(event, news.MessageDropped)]
    assert dropped.count("a message of an unknown kind") == heard > 50


@pytest.mark.parametrize(
    ("version", "version_min"), [(m.PROTOCOL_VERSION + 1, 1), (99, m.PROTOCOL_VERSION)]
)
def test_a_later_version_that_still_speaks_ours_is_welcome(version: int, version_min: int) -> None:
    m.check_version(m.Hello(version, "shop", A, version_min))


def test_a_hello_without_its_lowest_version_is_of_the_first() -> None:
    plain = msgpack.unpackb(m.encode_message(messages()["hello"]))
    hello = m.decode_message(msgpack.packb(plain[:4]))
    assert isinstance(hello, m.Hello)
    assert hello.version_min == 1


def test_versions_that_share_none_are_told_which_they_are_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = m.PROTOCOL_VERSION
    with pytest.raises(OtherVersion) as refused:
        m.check_version(m.Hello(ours + 3, "shop", A, ours + 1))
    assert f"it speaks protocol {ours + 1} to {ours + 3}, we speak {ours}" in str(refused.value)
    assert "upgrade this node" in str(refused.value)
    monkeypatch.setattr(m, "PROTOCOL_VERSION", 5)
    monkeypatch.setattr(m, "PROTOCOL_VERSION_MIN", 4)
    with pytest.raises(OtherVersion, match="protocol 1 to 3, we speak 4 to 5: upgrade it"):
        m.check_version(m.Hello(3, "shop", A, 1))
    m.check_version(m.Hello(4, "shop", A, 2))


def test_a_phase_to_come_is_not_relied_on() -> None:
    plain = msgpack.unpackb(m.encode_message(messages()["heartbeat"]))
    plain[3] = 17
    heartbeat = m.decode_message(msgpack.packb(plain))
    assert isinstance(heartbeat, m.Heartbeat)
    assert heartbeat.phase is Phase.JOINING


def test_a_datagram_to_come_is_dropped_and_counted() -> None:
    keys = ClusterKeys.derive(SECRETS, CLUSTER_NAME)
    sealed = bytearray(Sealer(keys, CLUSTER_NAME, b"stranger", 1).seal(b"payload"))
    sealed[3] += 1
    opened = Opener(keys, CLUSTER_NAME).open(bytes(sealed))
    assert opened == DatagramDropped(DropReason.UNKNOWN_VERSION)


def test_a_worker_to_come_starts_our_agent(newest: Recording) -> None:
    start = json.loads(newest["local"]["start"])
    known = decode_start(json.dumps(start).encode())
    grown = {"more": 1, **start, "settings": {**start["settings"], "telepathy": True}}
    assert decode_start(json.dumps(grown).encode()) == known
    assert unknown_settings(json.dumps(grown).encode()) == ["telepathy"]


def test_what_a_later_agent_leaves_for_workers() -> None:
    assert View.decode(b"app_2,tomcat1!\nsomething new") == (frozenset({"app_2", "tomcat1"}), True)


def test_a_boot_mark_that_has_grown(tmp_path: Path) -> None:
    (tmp_path / directories.DATA_FILE).touch()
    (tmp_path / "boot").write_text("first boot\nclean\nsomething new")
    assert directories.is_trustworthy(tmp_path, "another boot")
    (tmp_path / "boot").write_text("first boot\nopen\nclean")
    assert not directories.is_trustworthy(tmp_path, "another boot")


def test_records_that_have_grown_are_described_alike(newest: Recording) -> None:
    for row in newest["records"]:
        if row["meaning"]["kind"] == "SessionState":
            plain = msgpack.unpackb(bytes.fromhex(row["bytes"]))
            state = decode_state(msgpack.packb([*plain, *later.NEW]))
            assert not differences(row["meaning"], describe(state))
