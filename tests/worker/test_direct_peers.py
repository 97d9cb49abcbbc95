"""Whom a worker may ask about a write, and what it says."""

from dataclasses import dataclass

import pytest

from clustersession.core.direct_peers import DIRECT_NOTE, DirectPeer, DirectPeers
from clustersession.core.errors import ReplicaFull
from clustersession.core.identity import Address
from clustersession.core.state import Register, new_state
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from clustersession.wire.messages import DirectChange, decode_message
from clustersession.worker.direct_peers import QUESTION_BYTES_MAX, DirectPeersReader, question
from clustersession.worker.direct_way import PlainWrite

OWN = b"our node"
PEERS = tuple(DirectPeer(bytes([n]) * 8, Address("10.0.0.2", n)) for n in (1, 2))


def a_write(node: bytes = OWN, size: int = 1) -> PlainWrite:
    part = new_state(0, 1, 2, {"a": Register(5, node, 9, b"x" * size)}, {node: 9}, None)
    return PlainWrite("1" * 23, node, 9, 4, part, part)


@dataclass
class Place:
    """A replica with a note, and a worker that is attached or not."""

    replica: Replica
    attached: bool = True

    def note(self, *peers: DirectPeer, own: bytes = OWN, everybody: bool = True) -> None:
        self.replica.save_note(DIRECT_NOTE, DirectPeers(own, peers, everybody).encode())

    def reader(self, *, all_peers: bool = False) -> DirectPeersReader:
        return DirectPeersReader(self.replica, lambda: self.attached, all_peers=all_peers)


@pytest.fixture
def place() -> Place:
    return Place(open_memory(OWN, clock_skew_ms_max=1000))


def test_without_a_note_there_is_nobody(place: Place) -> None:
    assert not place.reader().whom_to_ask(a_write())


def test_one_peer_is_asked_or_all(place: Place) -> None:
    one, every = place.reader(), place.reader(all_peers=True)
    place.note(*PEERS)
    assert list(one.whom_to_ask(a_write())) == [PEERS[0]]
    assert list(every.whom_to_ask(a_write())) == list(PEERS)
    place.note(*reversed(PEERS), everybody=False)
    assert list(one.whom_to_ask(a_write())) == [PEERS[1]]
    assert not every.whom_to_ask(a_write())


def test_what_an_agent_left_that_is_gone_is_not_believed(place: Place) -> None:
    reader = place.reader()
    place.note(*PEERS)
    place.attached = False
    assert not reader.whom_to_ask(a_write())
    place.attached = True
    assert reader.whom_to_ask(a_write())


def test_what_was_written_under_another_node_id_goes_by_the_agent(place: Place) -> None:
    reader = place.reader()
    place.note(*PEERS)
    assert not reader.whom_to_ask(a_write(b"new node"))
    place.note(*PEERS, own=b"new node")
    assert not reader.whom_to_ask(a_write())
    assert reader.whom_to_ask(a_write(b"new node"))


def test_a_replica_that_fails_names_nobody(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.note(*PEERS)

    def fail(name: str) -> bytes | None:
        raise ReplicaFull("no")

    monkeypatch.setattr(place.replica, "load_note", fail)
    assert not place.reader().whom_to_ask(a_write())


def test_a_question_has_the_write_and_what_it_stands_on() -> None:
    write = a_write()
    data = question(write, 7)
    assert data is not None
    message = decode_message(data)
    assert isinstance(message, DirectChange)
    assert message.number == 7
    batch = message.batch
    assert (batch.sender, batch.floor, batch.after, batch.upto) == (OWN, 4, 8, 9)
    (delta,) = batch.deltas
    assert (delta.key, delta.state, delta.full) == (write.key, write.part, False)


def test_what_is_larger_than_a_datagram_goes_by_the_agent() -> None:
    overhead = len(question(a_write(size=1000), 7) or b"") - 1000
    fits = QUESTION_BYTES_MAX - overhead
    assert question(a_write(size=fits), 7)
    assert question(a_write(size=fits + 1), 7) is None
