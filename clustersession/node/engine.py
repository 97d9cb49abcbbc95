"""Routes what arrives at a node to its parts, and collects what they want."""

from collections.abc import Callable, Mapping

from clustersession.core.detector import FailureDetector
from clustersession.core.errors import ReplicaError, WireError
from clustersession.core.identity import Address, Identity, Phase
from clustersession.core.membership import Membership
from clustersession.node.anti_entropy import AntiEntropy
from clustersession.node.claims import Claims
from clustersession.node.confirmations import Confirmations
from clustersession.node.context import Context, Peer, Timed
from clustersession.node.dialing import Dialer
from clustersession.node.effects import BeginAgain, Effect, Unlink
from clustersession.node.heartbeat import HeartbeatSender
from clustersession.node.joiner import Joiner
from clustersession.node.locator import Locator
from clustersession.node.lookup import SessionLookup
from clustersession.node.member_events import MemberEvents
from clustersession.node.moment import Moment
from clustersession.node.news import (
    ClockSkewed,
    MessageDropped,
    News,
    PastLost,
    Repaired,
    ReplicaFailed,
)
from clustersession.node.probing import Prober
from clustersession.node.puller import Puller
from clustersession.node.receiver import Receiver
from clustersession.node.sender import Sender
from clustersession.node.snapshot import Snapshots
from clustersession.node.wrong_times import WrongTimes
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.wire import messages as m

CLOCK_SKEW_MS_NOTED = 2_000
_COPIES = (m.SnapshotPageMessage, m.Sessions, m.Fetched)
_QUESTIONS = (m.Fetch, m.SnapshotRequest, m.Digests, m.Listing, m.SessionsRequest)


class Engine:
    """Speaks one node's protocol, without sockets, clock or randomness.

    The driver calls ``start`` once, then ``receive``, ``link_up``, ``link_down``, ``dial_failed``,
    ``feed_moved``, ``confirm`` and ``fetch`` as they happen and ``handle_timer`` when
    ``next_deadline`` has come; after each call it carries out ``effects``, in order, and passes on
    ``news``.

    What the constructor sets is never replaced, because an engine is one life of a node: the member
    table, what the parts share, and the parts. ``timed`` are those that wait for a time.
    """

    def __init__(
        self,
        settings: Settings,
        replica: Replica,
        own: Identity,
        *,
        multicast: bool,
        choose: Callable[[int], int],
    ) -> None:
        detector = FailureDetector(settings.heartbeat_interval_s, settings.drop_time_s)
        self.membership = Membership(own, detector)
        self.context = Context(settings, replica, self.membership, choose, multicast)
        self.context.cursors.update(replica.cursors())
        self.claims = Claims(self.context)
        self.dialer = Dialer(self.context)
        self.prober = Prober(self.context, self.dialer)
        self.confirmations = Confirmations(self.context)
        self.heartbeat = HeartbeatSender(self.context)
        self.sender = Sender(self.context, self.confirmations, self.heartbeat)
        self.puller = Puller(self.context)
        self.receiver = Receiver(self.context, self.puller)
        self.lookup = SessionLookup(self.context)
        self.locator = Locator(self.context, self.lookup)
        self.anti_entropy = AntiEntropy(self.context, self.puller)
        self.snapshots = Snapshots(self.context, self.receiver)
        self.wrong_times = WrongTimes(self.context)
        self.joiner = Joiner(self.context, self.receiver, self.dialer, self.snapshots)
        self._member_events = MemberEvents(
            self.context, self.dialer, self.prober, self.anti_entropy, self.confirmations,
            self.lookup,
        )
        self.timed: tuple[Timed, ...] = (
            self.heartbeat, self.joiner, self.dialer, self.confirmations, self.lookup,
            self.locator, self.anti_entropy,
        )
        self.context.retimed.update(self.timed)
        # When each part is due, as it said when it was asked last; whichever it may have changed
        # for since is in ``context.retimed``. The least of them all, for everybody who asks.
        self._due_s: dict[Timed, float] = {}
        self._deadline_s = float("inf")

    # ---- what the driver calls -------------------------------------------------------------------

    def start(self, at: Moment) -> None:
        """Begin to look for the others."""
        self.joiner.start(at)
        self.anti_entropy.start(at)
        self.heartbeat.start(at)

    def succeed(self, before: "Engine", at: Moment) -> None:
        """Do what ``start`` does, but in the place of an engine that had lost its past."""
        self.context.multicast = before.context.multicast
        self.start(at)
        self.set_serving(before.context.serving, at)
        if before.joiner.aim is Phase.DRAINING:
            self.drain(at)

    def give_up(self, at: Moment) -> None:
        """Answer everybody who waits: nothing more will come of it under this node id."""
        for part in (self.confirmations, self.lookup, self.locator):
            part.expire(at._replace(now_s=float("inf")))

    def effects(self) -> list[Effect]:
        """Take what is to be carried out since the last call, in order."""
        taken, self.context.effects = self.context.effects, []
        return taken

    def news(self) -> list[News]:
        """Take what there is to tell since the last call, in order."""
        taken, self.context.news = self.context.news, []
        return taken

    def next_deadline(self) -> float:
        """Return the monotonic second at which ``handle_timer`` is to be called, and not before."""
        retimed = self.context.retimed
        if retimed:
            for part in retimed:
                self._due_s[part] = part.next_deadline()
            retimed.clear()
            self._deadline_s = min(self._due_s.values())
        return self._deadline_s

    def handle_timer(self, at: Moment) -> None:
        """Do what is due. Whatever is wrong with the replica, heartbeats go on."""
        try:
            self._handle_timer(at)
        except ReplicaError as error:
            self.context.tell(ReplicaFailed(str(error)))

    def _handle_timer(self, at: Moment) -> None:
        phase = self.context.phase
        if self.heartbeat.handle_timer(at):
            self._member_events.tell(self.membership.handle_timer(at.now_s), at)
            self._note_skews()
            self.wrong_times.check(at)
            self.prober.probe_again(at)
            self.sender.flush(at)
            self.sender.tick()
            if self.heartbeat.brief:
                self.receiver.confirm_late()
        self.dialer.handle_timer(at)
        for part in (self.confirmations, self.lookup, self.locator):
            part.expire(at)
        self.anti_entropy.handle_timer(at)
        self.joiner.handle_timer(at)
        self.confirmations.settle()
        if self.context.phase is not phase:
            self.heartbeat.soon(at)
            self.context.view_is_stale = True

    def link_up(self, identity: Identity, at: Moment, dialled: Address | None = None) -> None:
        """Take in an authenticated connection with a node, which said who it is.

        Also to be called when one of several has broken: what was under way on it may be lost.
        """
        if dialled is not None:
            self.dialer.answered(dialled, identity.node)
        if identity.node == self.context.own.node:
            return
        known = self.context.peers.get(identity.node)
        member = self.membership.get(identity.node)
        if known is not None and self.membership.has_left(identity):
            # One of its connections is still open.
            return
        if known is not None and member is not None and member.present:
            # Whoever we took to listen there, and dialled for that, does so no more.
            self._member_events.tell(self.membership.linked(identity, at.now_s), at)
            self.heartbeat.greet(known, at)
            self.receiver.announce(known)
            return
        if known is not None:
            # We took it for dead and its old connection is not closed yet.
            self.link_down(identity.node, "replaced", at)
        peer = Peer(identity.node, identity.address)
        self.context.peers[identity.node] = peer
        self._member_events.tell(self.membership.linked(identity, at.now_s), at)
        self.prober.vouch(identity.node, True)
        self.heartbeat.greet(peer, at)
        self.receiver.announce(peer)
        self.lookup.on_peer(peer)

    def link_down(self, node: bytes, reason: str, at: Moment) -> None:
        """Note that the last connection with a node is gone."""
        if self.context.peers.pop(node, None) is None:
            return
        for part in (self.receiver, self.puller, self.lookup, self.joiner, self.wrong_times):
            part.forget(node)
        self.prober.vouch(node, False)
        self._member_events.tell(self.membership.unlinked(node, reason, at.now_s), at)
        self.confirmations.settle()

    def dial_failed(self, address: Address, refused: bool, at: Moment) -> None:
        """Note that a connection attempt failed; ``refused`` when its host said so at once."""
        member = self.dialer.failed(address, at)
        if member is not None and member.identity.node not in self.context.peers:
            self.prober.vouch(member.identity.node, False)
            events = self.membership.unreachable(member.identity.node, refused, at.now_s)
            self._member_events.tell(events, at)

    def receive(
        self, node: bytes, data: bytes, at: Moment, *, reliable: bool, reads: bool = True
    ) -> None:
        """Handle a message from an authenticated node, by TCP (``reliable``) or by multicast.

        Not ``reads``: the node leaves what it was sent unread, and is not answered any more.
        """
        if node == self.context.own.node:
            self.heartbeat.heard_self(at)
            return
        try:
            message = m.decode_message(data)
            if isinstance(message, m.Heartbeat):
                self._on_heartbeat(node, message, at, reliable=reliable)
            # Whoever only asks would keep us busy at the expense of everybody else.
            elif reads or not isinstance(message, _QUESTIONS):
                self._on_message(node, message, at, reliable=reliable)
        except WireError as error:
            self.context.tell(MessageDropped(node, str(error)))
        except ReplicaError as error:
            # The disk may be full. Nothing was confirmed, so the peer is asked for it again.
            self.receiver.let_go(node)
            self.context.tell(MessageDropped(node, f"the replica failed: {type(error).__name__}"))

    def _on_message(self, node: bytes, message: m.Message, at: Moment, *, reliable: bool) -> None:
        peer = self.context.peers.get(node)
        if peer is None:
            return
        if events := self.membership.heard_from(node, at.now_s):
            self._member_events.tell(events, at)
        self.prober.vouch(node, True)
        if isinstance(message, m.Changes):
            self.receiver.on_changes(node, message, at, reliable=reliable)
        elif reliable:
            self._on_reliable(peer, message, at)

    def feed_moved(self, at: Moment) -> None:
        """Stream, because workers have committed or begun to wait since the last call."""
        try:
            self.sender.flush(at)
            self.confirmations.ask_for_the_sent(at)
            self.confirmations.settle()
        except ReplicaError as error:
            self.context.tell(ReplicaFailed(str(error)))

    def confirm(self, token: int, seq: int, *, all_peers: bool, deadline_s: float) -> None:
        """Have peers confirm a worker's write; ``feed_moved`` must follow."""
        self.confirmations.confirm(token, seq, all_peers=all_peers, deadline_s=deadline_s)

    def fetch(self, token: int, key: str, wanted: Mapping[bytes, int], at: Moment) -> None:
        """Look for a session that a worker does not find here, or not with the wanted writes."""
        self.lookup.fetch(token, key, wanted, at)

    def seeds(self, addresses: frozenset[Address], at: Moment) -> None:
        """Note the addresses that the configured seeds resolve to now."""
        self.dialer.seeds(addresses, at)

    def workers_changed(self, attached: int, staying: int, at: Moment) -> None:
        """Note how many workers are attached, and how many of them were not told to stop."""
        self.set_serving(staying > 0, at)
        if attached and not staying:
            self.drain(at)

    def set_serving(self, serving: bool, at: Moment) -> None:
        """Note whether a worker of this host is there to answer requests."""
        if self.context.serving is not serving:
            self.context.serving = serving
            if serving and self.joiner.aim is Phase.DRAINING:
                # The application was restarted, which is what the drain was for; the agent may
                # have outlived that and must not send the users away for ever.
                self.joiner.aim = Phase.READY
                if self.context.phase is Phase.DRAINING:
                    self.context.phase = Phase.READY
            self._announce(at)

    def drain(self, at: Moment) -> None:
        """Move users away: other nodes are to own our sessions, until our workers start anew."""
        self.joiner.aim = Phase.DRAINING
        if self.context.phase is Phase.READY:
            self.context.phase = Phase.DRAINING
            self.sender.press(at)
        self._announce(at)

    def leave(self, at: Moment) -> None:
        """Say goodbye; the driver closes the links afterwards."""
        self.context.retimed.add(self.joiner)
        self.context.phase = Phase.LEAVING
        self.context.serving = False
        try:
            self.sender.flush(at)
            self.heartbeat.send_to_all(at)
            for peer in self.context.peers.values():
                self.heartbeat.greet(peer, at)
        except ReplicaError as error:
            self.context.tell(ReplicaFailed(str(error)))

    # ---- inside ----------------------------------------------------------------------------------

    def _announce(self, at: Moment) -> None:
        self.heartbeat.send_to_all(at)
        self.context.view_is_stale = True

    def _lose_past(self, witness: bytes) -> None:
        self.context.tell(PastLost(witness))
        self.context.emit(BeginAgain())

    def _on_heartbeat(
        self, node: bytes, message: m.Heartbeat, at: Moment, *, reliable: bool
    ) -> None:
        if message.identity.node != node or self.membership.is_stale(message.identity):
            self.context.tell(MessageDropped(node, "a stale or foreign heartbeat"))
            return
        if message.phase is Phase.LEAVING:
            self._on_goodbye(node, at, reliable=reliable)
            return
        peer = self.context.peers.get(node)
        if peer is None:
            if not reliable:
                self.dialer.heard_of(message.identity.address, at, fresh=True)
            return
        self._member_events.tell(self.membership.heard(message.identity, at.now_s), at)
        self.prober.vouch(node, True)
        self._note(peer, message, at, reliable=reliable)
        for address in message.members:
            self.dialer.heard_of(address, at)
        if self.membership.suspected_by_peer(message.suspects):
            self.heartbeat.soon(at)
        self.receiver.on_heartbeat(node, message, at)
        self.joiner.on_heartbeat(node, message)
        self.confirmations.settle()

    def _note_skews(self) -> None:
        # Not at each heartbeat: after a pause of ours, old ones wait in the socket.
        for member in self.membership.present():
            if abs(member.skew_ms) > CLOCK_SKEW_MS_NOTED:
                self.context.tell(ClockSkewed(member.identity.node, member.skew_ms))

    def _note(self, peer: Peer, message: m.Heartbeat, at: Moment, *, reliable: bool) -> None:
        member = self.membership.get(peer.node)
        assert member is not None
        changed = (member.phase, member.serving) != (message.phase, message.serving)
        member.phase, member.serving = message.phase, message.serving
        member.uptime_ms, member.head = message.uptime_ms, message.head
        member.skew_ms = message.wall_ms - at.wall_ms
        self.wrong_times.on_heartbeat(peer.node, message.wall_ms, at)
        newly_greeted = not peer.greeted
        peer.greeted, peer.phase = True, message.phase
        peer.hears_us = self.context.own.node in message.heard
        if not reliable:
            peer.multicast_heard_s = at.now_s
        if newly_greeted or (message.asks and not reliable):
            self.heartbeat.soon(at)
        claimed = message.cursors.get(self.context.own.node)
        if claimed is not None and not self.claims.believes(
            peer.node, claimed.position,
            reliable=reliable, provisional=message.phase is Phase.JOINING,
        ):
            self._lose_past(peer.node)
        elif claimed is not None and (
            reliable or (peer.settled and self.claims.has_heard(peer.node))
        ):
            # Not by multicast while it loads: a datagram may be late, and speak of a place that the
            # peer has left. Later its places only grow, as long as it lives. And not before a word
            # of it by TCP was judged: it may speak of what we wrote before we lost our past.
            peer.progress.confirmed_to(claimed)
        if changed:
            self.context.view_is_stale = True

    def _on_goodbye(self, node: bytes, at: Moment, *, reliable: bool) -> None:
        peer = self.context.peers.get(node)
        if peer is not None:
            peer.phase = Phase.LEAVING
        member = self.membership.get(node)
        if member is not None and member.present:
            self.dialer.forget(member.identity.address)
            self._member_events.tell(self.membership.said_goodbye(node, at.now_s), at)
        if reliable:
            # A datagram may overtake the node's last writes, which are on their way by TCP.
            self.context.emit(Unlink(node))

    def _on_reliable(self, peer: Peer, message: m.Message, at: Moment) -> None:
        node = peer.node
        if isinstance(message, _COPIES) and not self.claims.remembers(message):
            self._lose_past(node)
            return
        match message:
            case m.Progress():
                if not self.claims.believes(
                    node, message.cursor.position, reliable=True, provisional=message.provisional
                ):
                    self._lose_past(node)
                else:
                    self.sender.on_progress(peer, message, at)
            case m.Fetch():
                self.lookup.on_fetch(node, message)
            case m.Fetched():
                self.locator.on_fetched(node, message, at)
            case m.Ping():
                self.context.send(node, m.Pong(message.number))
            case m.ProbeRequest():
                self.prober.on_request(node, message, at)
            case m.ProbeReply():
                self._member_events.tell(self.prober.on_reply(node, message, at), at)
            case m.SnapshotRequest():
                self.snapshots.on_request(node, message)
            case m.SnapshotPageMessage():
                self.joiner.on_page(node, message, at)
            case m.Digests():
                self.anti_entropy.on_digests(node, message)
            case m.Listing():
                self.anti_entropy.on_listing(node, message, at)
            case m.SessionsRequest():
                self.puller.on_request(node, message)
            case m.Sessions():
                changed = self.puller.on_sessions(node, message, at)
                if changed and not self.receiver.is_held(node):
                    self.context.tell(Repaired(node, changed))
                self.receiver.pulled(node, at)
            case _:
                pass
