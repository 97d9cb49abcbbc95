"""The agent of one host: the product's node, with this world's network and clock around it.

It stands where ``clustersession.agent`` has sockets: it feeds the node, carries out what it wants,
seals and opens datagrams, answers the workers, and sweeps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from clustersession.agent.sweeper import SWEEP_INTERVAL_S, SWEEP_LIMIT
from clustersession.core.errors import ReplicaError
from clustersession.core.identity import EPOCH_RANDOM_BITS, Address
from clustersession.node import effects, news
from clustersession.node.effects import Outward
from clustersession.node.engine import Engine
from clustersession.node.life import Chance, Life
from clustersession.node.moment import Moment
from clustersession.replica.sweeping import reclaim_in_parts
from clustersession.wire.envelope import Opened, Opener, Sealer
from clustersession.wire.fields import VERSIONS
from clustersession.wire.local import Operation, Request, decode_request, encode_answer
from clustersession.wire.messages import SnapshotRequest, decode_message
from tests.simulation.ledger import Violation
from tests.simulation.network import LATENCY_S, End, Station
from tests.simulation.store import StoreLine

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.worker import Ask

DIAL_TIMEOUT_S = 1.0
DIALS_AT_ONCE_MAX = 20
TIMER_S_MIN = 0.001
EFFECTS_MAX = 10_000
SNAPSHOT_REQUEST = 7


class Agent:
    """One life of one host's agent."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.world = world = host.world
        self.alive = True
        self.asked: dict[int, Ask] = {}
        self._opener = Opener(world.keys, "simulated")
        self._sealer: Sealer | None = None
        self._seen: set[tuple[bytes, int, int]] = set()
        self._tokens = 0
        self._timer_s = float("inf")
        self._timers = 0
        self._donor = b""
        # The host's time at the last sweep.
        self.swept_ms = float("-inf")
        # By life, how many attempts to connect are under way.
        self._dials: Counter[Engine] = Counter()
        chance = Chance(
            world.random_int, lambda: world.random_int(1 << EPOCH_RANDOM_BITS), world.new_node
        )
        self.life: Life[End] = Life(
            replace(world.settings, route=host.name), host.replica, Address(host.ip, 4000), chance,
            self.at(), journal=host.journal,
        )
        if world.plan.direct and host.name not in world.plan.indirect:
            self.engine.context.takes_direct = True
            self._direct_opener = Opener(world.keys, "simulated")
            name = world.bytes_for(f"direct {world.next_number()}", 8)
            self._direct_sealer = Sealer(world.keys, "simulated", name, 1)
        self.line = None if world.store is None else StoreLine(self, world.store)
        self.engine.start(self.at())
        self.tell_workers()
        self._sweep_later()

    @property
    def engine(self) -> Engine:
        return self.life.engine

    @property
    def station(self) -> Station:
        return self.host

    def at(self) -> Moment:
        """Now, by the host's clocks."""
        return self.host.clock.moment()

    def die(self, *, silently: bool = False) -> None:
        """kill -9: whoever waits for an answer asks the next agent.

        silently: not even the kernel is left to close the connections.
        """
        was_alive, self.alive = self.alive, False
        if was_alive and self.line is not None:
            self.line.close(silently=silently)
        if silently or not was_alive:
            return
        for end in self.life.connections:
            end.abort("killed")
        for ask in list(self.asked.values()):
            ask.again()

    def leave(self) -> None:
        """Say goodbye and go."""
        self.engine.feed_moved(self.at())
        self.pump()
        self.life.leave(self.at())
        self.pump()
        self.alive = False
        self.life.connections.close_all("leaving")
        if self.line is not None:
            self.line.close()
        for ask in list(self.asked.values()):
            ask.again()

    def tell_workers(self) -> None:
        """The workers of this host have come or gone."""
        attached = sum(worker.alive for worker in self.host.workers)
        self.engine.workers_changed(attached, attached, self.at())
        self.pump()

    # ---- the node --------------------------------------------------------------------------------

    def pump(self) -> None:
        """Carry out what the node wants, and set its timer."""
        for count, effect in enumerate(self.life.effects(self.at())):
            self._carry_out(effect)
            if count > EFFECTS_MAX:
                raise Violation(f"{self.host.name}: the engine does not come to rest")
        self._tell()
        self._arm()

    def _tell(self) -> None:
        for told in self.engine.news():
            if isinstance(told, news.ReplicaFailed | news.NoNewNodeId):
                self.world.marks["replica failed an engine"] += 1
            self.world.note(self.host, told)

    def _carry_out(self, effect: Outward) -> None:
        world, engine = self.world, self.engine
        match effect:
            case effects.Multicast(data):
                assert self._sealer is not None
                world.network.multicast(self.host.name, self._sealer.seal(data))
            case effects.Dial(address):
                self._dials[engine] += 1
                if self._dials[engine] > DIALS_AT_ONCE_MAX:
                    raise Violation(f"{self.host.name} dials {self._dials[engine]} at a time")
                world.timeline.later(LATENCY_S, lambda: self._dial(address, engine))
            case effects.SealAs(node, epoch):
                again = self._sealer is not None
                world.marks["node that lost its past began again"] += again
                self._sealer = Sealer(world.keys, "simulated", node, epoch)
                world.began(engine.context.own)
            case effects.Confirmed(token, value) | effects.FetchAnswered(token, value):
                ask = self.asked.pop(token, None)
                if ask is not None:
                    ask.answer(encode_answer(ask.token, value))
            case effects.AskStore(number, calls):
                assert self.line is not None
                self.line.send(number, calls)
            case effects.DropStore():
                assert self.line is not None
                self.line.drop()
            case effects.BeginAgain():
                self._tell()
            case effects.SyncJournal() | effects.LoadRecovered() | effects.RecoveryOver():
                self._keep_journal(effect)

    def _keep_journal(self, effect: effects.Journaled) -> None:
        """Do what ``agent.journal`` does with files, later; a disk that fails says so."""
        journal, engine, later = self.host.journal, self.engine, self.world.timeline.later
        assert journal is not None

        def do(act: Callable[[], None], after_s: float) -> None:
            def then() -> None:
                if self.alive and engine is self.engine:
                    act()
                    self.pump()

            later(after_s, lambda: self.host.do(then))

        match effect:
            case effects.SyncJournal(number):
                begun = journal.begin_sync()

                def synced() -> None:
                    journal.end_sync(begun)
                    if journal.works:
                        engine.journal_synced(number, self.at())

                do(synced, journal.sync_s)
            case effects.LoadRecovered(ends, after_key):
                def read() -> None:
                    if journal.waiting is not None:
                        engine.recovered(journal.page(ends, after_key), self.at())

                do(read, LATENCY_S)
            case effects.RecoveryOver() if journal.works:
                journal.rewrite(self.host.replica)

    def journal_failed(self) -> None:
        """The disk under the journal takes no more."""
        self.engine.journal_failed(self.at())
        self.pump()

    def journal_works(self) -> None:
        """It does again, and the journal is begun anew."""
        self.engine.journal_works(self.at())
        self.pump()

    def note_sent(self, end: End, data: bytes) -> None:
        """A message is on its way to a peer."""
        if data[1] != SNAPSHOT_REQUEST:
            return
        request = decode_message(data)
        assert isinstance(request, SnapshotRequest)
        if request.after_key and end.identity.node != self._donor:
            self.world.marks["snapshot resumed with another donor"] += 1
        self._donor = end.identity.node

    def _arm(self) -> None:
        deadline_s = self.engine.next_deadline()
        if deadline_s != min(part.next_deadline() for part in self.engine.timed):
            raise Violation(f"{self.host.name}: a deadline has changed unsaid")
        if not self.alive or deadline_s == self._timer_s:
            return
        self._timer_s = deadline_s
        self._timers += 1
        number = self._timers

        def timer() -> None:
            if self.alive and self._timers == number:
                self._timer_s = float("inf")
                self.engine.handle_timer(self.at())
                self.pump()

        delay_s = max(deadline_s - self.world.timeline.now_s, TIMER_S_MIN)
        self.world.timeline.later(delay_s, lambda: self.host.do(timer))

    # ---- links -----------------------------------------------------------------------------------

    def _dial(self, address: Address, asked: Engine) -> None:
        if not self.alive:
            return
        other = self.world.host_at(address)
        fate = "refused" if other is None else other.fate_of_dial(self.host)
        if fate == "refused":
            self._dial_failed(address, asked, True)
        elif fate == "silence":
            self.world.timeline.later(
                DIAL_TIMEOUT_S,
                lambda: self.host.do(lambda: self._dial_failed(address, asked, False)),
            )
        else:
            assert other is not None
            assert other.agent is not None
            self._connect(other.agent, address, asked)

    def _connect(self, other: Agent, address: Address, asked: Engine) -> None:
        ours, theirs = self.world.network.connect(self, other)
        ours.identity = self.life.check_hello(other.life.hello()).identity
        theirs.identity = other.life.check_hello(self.life.hello()).identity

        def adopt() -> None:
            self._dials[asked] -= 1
            if self.alive and ours.open:
                self.life.dialled(ours, address, asked, self.at())
                self.pump()
            else:
                ours.close("gone")

        # First, so that what the other side says at once finds us there.
        self.world.timeline.later(LATENCY_S, lambda: self.host.do(adopt))
        other.life.accepted(theirs, other.at())
        other.pump()

    def _dial_failed(self, address: Address, asked: Engine, refused: bool) -> None:
        self._dials[asked] -= 1
        if self.alive:
            self.life.dial_failed(address, asked, refused, self.at())
            self.pump()

    def frame(self, end: End, payload: bytes) -> None:
        """A message came by connection."""
        node = end.identity.node
        if not self.alive:
            end.abort("gone")
        elif end in self.life.connections.to(node):
            self.world.trace(self.host, "tcp", payload)
            changes = self.engine.direct_changes
            taken, refused = changes.taken, changes.refused
            self.life.received(end, payload, self.at())
            self.pump()
            self.world.marks["copy ahead taken"] += changes.taken - taken
            self.world.marks["copy ahead refused"] += changes.refused - refused

    def closed(self, end: End) -> None:
        """A connection is gone."""
        if self.alive:
            self.life.closed(end, self.at())
            self.pump()

    def datagram(self, data: bytes) -> None:
        """A datagram came; a second copy of it must not."""
        opened = self._opener.open(data)
        if not isinstance(opened, Opened):
            self.world.marks[f"datagram {opened.reason.value}"] += 1
            return
        name = (opened.sender, opened.epoch, opened.sequence)
        if name in self._seen:
            raise Violation(f"{self.host.name} took a datagram twice")
        self._seen.add(name)
        self.world.trace(self.host, "udp", opened.payload)
        self.engine.receive(opened.sender, opened.payload, self.at(), reliable=False)
        self.pump()

    def direct(self, data: bytes) -> bytes | None:
        """A worker of another host has sent a change; returns the answer."""
        opened = self._direct_opener.open(data)
        if not isinstance(opened, Opened):
            self.world.marks[f"direct change {opened.reason.value}"] += 1
            return None
        self.world.trace(self.host, "direct", opened.payload)
        changes = self.engine.direct_changes
        taken = changes.taken
        answer = self.engine.receive_direct(opened.sender, opened.payload, self.at())
        self.pump()
        word = "taken" if changes.taken > taken else "refused"
        self.world.marks[f"direct change {word}"] += 1
        return self._direct_sealer.seal(answer)

    # ---- workers ---------------------------------------------------------------------------------

    def request(self, data: bytes, ask: Ask | None) -> None:
        """A worker has committed, or asks."""
        request: Request = decode_request(data)
        engine, at = self.engine, self.at()
        if ask is not None:
            self._tokens += 1
            self.asked[self._tokens] = ask
        match request.operation:
            case Operation.CONFIRM:
                head, all_peers, timeout_ms, ends, keys = request.argument
                engine.confirm(
                    self._tokens, head, all_peers=all_peers,
                    deadline_s=at.now_s + timeout_ms / 1000, ends=ends, keys=keys,
                )
                engine.feed_moved(at)
            case Operation.FETCH:
                key, wanted = request.argument
                engine.fetch(self._tokens, key, VERSIONS.unpack(wanted), at)
            case Operation.GATHER:
                engine.gather(self._tokens, request.argument[0], at)
            case Operation.FEED_MOVED if len(request.argument) > 2:
                _, number, places = request.argument
                if engine.note_held(number, places, at):
                    self.world.marks["carried write counted by its agent"] += 1
                else:
                    engine.feed_moved(at)
            case _:
                engine.feed_moved(at)
        self.pump()

    def _reclaim(self) -> None:
        spread, now_ms = self.world.store is not None, self.host.clock.wall_ms()
        self.swept_ms = now_ms
        done = reclaim_in_parts(self.host.replica, now_ms, SWEEP_LIMIT, spread=spread)
        if done.stored and spread:
            self.engine.feed_moved(self.at())

    def _sweep_later(self) -> None:
        def sweep() -> None:
            if not self.alive:
                return
            try:
                self.host.replica.sweep(self.host.clock.wall_ms(), SWEEP_LIMIT)
                self._reclaim()
                self.host.replica.end_revoked()
            except ReplicaError:
                pass
            self.engine.context.view_is_stale = True
            self.pump()
            if self.host.journal is not None and self.host.journal.has_grown:
                self.host.journal.rewrite(self.host.replica)
            self._sweep_later()

        self.world.timeline.later(SWEEP_INTERVAL_S, lambda: self.host.do(sweep))
