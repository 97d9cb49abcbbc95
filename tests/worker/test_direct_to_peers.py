"""A worker that asks peers itself, over real sockets."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import trio

from clustersession.core.direct_peers import DIRECT_NOTE, DirectPeer, DirectPeers
from clustersession.core.identity import Address
from clustersession.core.state import Register, new_state
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.wire.messages import DirectAnswer, DirectChange
from clustersession.worker import direct_to_peers
from clustersession.worker.direct_peers import DirectPeersReader
from clustersession.worker.direct_rest import MISSES_MAX
from clustersession.worker.direct_to_peers import DirectToPeers
from clustersession.worker.direct_way import PlainWrite
from tests.net.direct_peer import NAME, PeerThread

OWN = b"our node"
Confirm = Callable[[DirectToPeers, PlainWrite], bool]


def a_write(seq: int = 9, size: int = 1) -> PlainWrite:
    part = new_state(0, 1, 2, {"a": Register(5, OWN, seq, b"x" * size)}, {OWN: seq}, None)
    return PlainWrite("1" * 23, OWN, seq, seq - 1, part, part)


@dataclass
class Worker:
    """A worker whose agent has left a note. moved, all_hold: what the agent was told."""

    replica: Replica = field(default_factory=lambda: open_memory(OWN, clock_skew_ms_max=1000))
    moved: list[int] = field(default_factory=list)
    all_hold: list[bool] = field(default_factory=list)

    def note(self, *addresses: Address) -> None:
        peers = tuple(DirectPeer(bytes([n]) * 8, a) for n, a in enumerate(addresses))
        self.replica.save_note(DIRECT_NOTE, DirectPeers(OWN, peers, True).encode())

    def way(self, *, all_peers: bool = False) -> DirectToPeers:
        settings = Settings(secret=("a secret of tests alone",), cluster_name=NAME)
        reader = DirectPeersReader(self.replica, lambda: True, all_peers=all_peers)
        return DirectToPeers(settings, reader, self.note_moved)

    def note_moved(self, head: int, all_hold: bool) -> None:
        self.moved.append(head)
        self.all_hold.append(all_hold)


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes its time."""
    monkeypatch.setattr(direct_to_peers, "PATIENCE_S", 10.0)


def blocking(way: DirectToPeers, write: PlainWrite) -> bool:
    return way.confirm(write)


def in_loop(way: DirectToPeers, write: PlainWrite) -> bool:
    return asyncio.run(way.confirm_async(write))


@pytest.fixture(params=[blocking, in_loop])
def confirm(request: pytest.FixtureRequest) -> Confirm:
    found: Confirm = request.param
    return found


def refuse(asker: bytes, change: DirectChange) -> list[DirectAnswer]:
    return [DirectAnswer(asker, change.number, False)]


def silence(asker: bytes, change: DirectChange) -> list[DirectAnswer]:
    return []


def test_a_write_is_held_and_the_agent_is_told(worker: Worker, confirm: Confirm) -> None:
    with PeerThread() as peer:
        worker.note(peer.address)
        way = worker.way()
        assert confirm(way, a_write(9))
        assert confirm(way, a_write(10))
        assert [change.batch.upto for _, change in peer.asked] == [9, 10]
        assert worker.moved == [9, 10]
        assert worker.all_hold == [True, True]
        way.close()


def test_the_agent_is_told_when_others_lack_what_one_peer_holds(
    worker: Worker, confirm: Confirm
) -> None:
    with PeerThread() as peer:
        worker.note(peer.address, Address("127.0.0.1", 9))
        way = worker.way()
        assert confirm(way, a_write())
        assert worker.all_hold == [False]
        way.close()


def test_all_peers_must_hold_it_where_all_are_wanted(worker: Worker, confirm: Confirm) -> None:
    with PeerThread() as first, PeerThread() as second:
        worker.note(first.address, second.address)
        way = worker.way(all_peers=True)
        assert confirm(way, a_write())
        second.reply = refuse
        assert not confirm(way, a_write(10))
        assert [len(peer.asked) for peer in (first, second)] == [2, 2]
        assert worker.moved == [9]
        way.close()


def test_the_agent_is_asked_at_once_where_there_is_nobody(
    worker: Worker, confirm: Confirm
) -> None:
    way = worker.way()
    assert not confirm(way, a_write())
    with PeerThread() as peer:
        worker.note(peer.address)
        assert not confirm(way, a_write(size=5000))
        assert not peer.asked
    way.close()


def test_what_is_refused_goes_by_the_agent(worker: Worker, confirm: Confirm) -> None:
    with PeerThread(refuse) as peer:
        worker.note(peer.address)
        way = worker.way()
        assert not confirm(way, a_write())
        assert worker.moved == []
        way.close()


def test_peers_that_do_not_answer_are_left_in_peace(
    worker: Worker, confirm: Confirm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct_to_peers, "PATIENCE_S", 0.05)
    with PeerThread(silence) as peer:
        worker.note(peer.address)
        way = worker.way()
        for _ in range(MISSES_MAX + 5):
            assert not confirm(way, a_write())
        assert len(peer.asked) <= MISSES_MAX
        assert worker.moved == []
        way.close()


def test_where_nobody_listens_the_agent_is_asked(worker: Worker, confirm: Confirm) -> None:
    with PeerThread() as peer:
        worker.note(peer.address)
    way = worker.way()
    for _ in range(MISSES_MAX + 1):
        assert not confirm(way, a_write())
    way.close()


async def test_many_writes_at_a_time_share_a_socket(worker: Worker) -> None:
    with PeerThread() as peer:
        worker.note(peer.address)
        way = worker.way()
        writes = [way.confirm_async(a_write(seq)) for seq in range(9, 59)]
        assert all(await asyncio.gather(*writes))
        assert len({sender for sender, _ in peer.asked}) == 1
        way.close()


def test_under_trio_the_agent_is_asked(worker: Worker) -> None:
    with PeerThread() as peer:
        worker.note(peer.address)
        way = worker.way()
        assert not trio.run(way.confirm_async, a_write())
        assert not peer.asked
        way.close()
