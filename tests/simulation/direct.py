"""Changes that workers send to the agents of other hosts themselves, and old ones that come again.

Where a worker of the product has a socket, ``DirectAsk`` is awaited here: until every peer has said
that it holds the write, one has refused, or the time is over.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from clustersession.core.direct_peers import DirectPeer
from clustersession.core.errors import WireError
from clustersession.wire.envelope import Opened, Opener, Sealer
from clustersession.wire.messages import DirectAnswer, decode_message
from clustersession.worker.direct_peers import question
from clustersession.worker.direct_way import PlainWrite

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.worker import Task, Worker

PATIENCE_S = 0.006
REPLAYED = 0.2
KEPT_MAX = 200


class DirectAsk:
    """A write on its way to some peers."""

    def __init__(self, worker: Worker, write: PlainWrite, peers: Sequence[DirectPeer]) -> None:
        world = worker.host.world
        self._worker = worker
        self._write = write
        self._peers = peers
        self._sender = world.bytes_for(f"direct sender {world.next_number()}", 8)
        self._sealer = Sealer(world.keys, "simulated", self._sender, 1)
        self._opener = Opener(world.keys, "simulated")
        self._task: Task | None = None
        self._held: set[int] = set()

    def __await__(self) -> Generator[DirectAsk, object, bool]:
        return bool((yield self))

    def begin(self, task: Task) -> None:
        """Send, and wait from now on."""
        self._task = task
        host, world = self._worker.host, self._worker.host.world
        world.timeline.later(PATIENCE_S, lambda: host.do(lambda: self._finish(False)))
        for number, peer in enumerate(self._peers, 1):
            payload = question(self._write, number)
            if payload is not None:
                world.direct.send(host, peer, self._sealer.seal(payload), self)

    def answered(self, receiver: Host, data: bytes) -> None:
        """An answer has come, perhaps not the first, or to another question."""
        opened = self._opener.open(data)
        if not isinstance(opened, Opened) or not self._worker.alive:
            return
        answer = decode_message(opened.payload)
        assert isinstance(answer, DirectAnswer)
        if answer.asker != self._sender:
            return
        peer = self._peers[answer.number - 1]
        if self._worker.host.world.host_at(peer.address) is not receiver:
            # A worker has a socket for each peer, which takes answers of no other address.
            return
        if not answer.taken:
            self._finish(False)
        self._held.add(answer.number)
        if len(self._held) == len(self._peers):
            self._finish(True)

    def _finish(self, held: bool) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.step(held)


class DirectTraffic:
    """What is on its way between workers and agents, and what somebody has recorded of it."""

    def __init__(self) -> None:
        self._recorded: list[bytes] = []

    def send(self, host: Host, peer: DirectPeer, data: bytes, ask: DirectAsk) -> None:
        """Send a change; now and then one that was recorded goes to somebody as well."""
        world, network = host.world, host.world.network
        receiver = world.host_at(peer.address)
        if receiver is None:
            return
        network.unicast(host.name, receiver.name, lambda: arrive(receiver, host, data, ask))
        self._recorded = [*self._recorded[-KEPT_MAX:], data]
        if world.plan.duplication and network.draw_direct() < REPLAYED:
            old = self._recorded[int(network.draw_direct() * len(self._recorded))]
            victim = world.hosts[int(network.draw_direct() * len(world.hosts))]
            network.unicast(host.name, victim.name, lambda: arrive(victim, host, old, ask))


def arrive(receiver: Host, sender: Host, data: bytes, ask: DirectAsk) -> None:
    """A change has come to a host; the answer goes back the same way."""
    agent = receiver.agent
    if agent is None or not agent.alive or not agent.engine.context.takes_direct:
        return
    try:
        answer = agent.direct(data)
    except WireError:
        return
    if answer is not None:
        receiver.world.network.unicast(
            receiver.name, sender.name, lambda: ask.answered(receiver, answer)
        )
