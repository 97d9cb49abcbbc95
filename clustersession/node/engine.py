"""Routes what arrives at a node to its parts, and collects what they want."""

from collections.abc import Callable, Collection, Mapping, Sequence

from clustersession.core.detector import FailureDetector
from clustersession.core.errors import ReplicaError, WireError
from clustersession.core.identity import Address, Identity, Phase
from clustersession.core.membership import Membership
from clustersession.node.anti_entropy import AntiEntropy
from clustersession.node.claims import Claims
from clustersession.node.confirmations import Confirmations
from clustersession.node.context import Context, Peer, Timed
from clustersession.node.dialing import Dialer
from clustersession.node.direct_changes import DirectChanges
from clustersession.node.effects import BeginAgain, DropStore, Effect, FetchAnswered, Unlink
from clustersession.node.heartbeat import HeartbeatSender
from clustersession.node.joiner import Joiner
from clustersession.node.journal_port import NEW_JOURNAL, JournalPage, JournalPast, JournalPort
from clustersession.node.journaling import Journaling
from clustersession.node.locator import Locator
from clustersession.node.lookup import SessionLookup
from clustersession.node.member_events import MemberEvents
from clustersession.node.member_list import MemberList
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
from clustersession.node.recovery import Recovery
from clustersession.node.sender import Sender
from clustersession.node.snapshot import Snapshots
from clustersession.node.store_calls import StoreAnswer
from clustersession.node.store_joiner import StoreJoiner
from clustersession.node.store_members import StoreMembers
from clustersession.node.store_peer import StorePeer
from clustersession.node.store_users import StoreUsers
from clustersession.node.wrong_times import WrongTimes
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.wire import messages as m
from clustersession.wire.fields import NO_PAST

CLOCK_SKEW_MS_NOTED = 2_000
_COPIES = (m.SnapshotPageMessage, m.Sessions, m.Fetched, m.DirectChange)
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
        self, settings: Settings, replica: Replica, own: Identity, *,
        multicast: bool, choose: Callable[[int], int], journal: JournalPort | None = None,
        past: JournalPast = NEW_JOURNAL,
    ) -> None:
        detector = FailureDetector(settings.heartbeat_interval_s, settings.drop_time_s)
        self.membership = Membership(own, detector)
        journaling = Journaling(settings, replica, journal, past)
        self.context = Context(settings, replica, self.membership, choose, multicast, journaling)
        self.context.cursors.update(replica.cursors())
        self.claims = Claims(self.context)
        self.dialer = Dialer(self.context)
        self.prober = Prober(self.context, self.dialer)
        self.confirmations = Confirmations(self.context)
        self.heartbeat = HeartbeatSender(self.context)
        self.puller = Puller(self.context)
        self.receiver = Receiver(self.context, self.puller)
        self.direct_changes = DirectChanges(self.context, self.receiver)
        self.lookup = SessionLookup(self.context)
        self.locator = Locator(self.context, self.lookup)
        self.anti_entropy = AntiEntropy(self.context, self.puller)
        self.snapshots = Snapshots(self.context, self.receiver)
        self.wrong_times = WrongTimes(self.context)
        self.member_list = MemberList(self.context, past)
        self.recovery = Recovery(self.context, self.member_list, past)
        self._member_events = self._new_member_events()
        self.store = self._new_store() if settings.store else None
        self.sender, self.joiner = self._new_sender(), self._new_joiner()
        self.timed: tuple[Timed, ...] = (
            self.heartbeat, self.joiner, self.dialer, self.confirmations, self.lookup,
            self.locator, self.anti_entropy, self.context.journal, self.member_list, self.recovery,
            self.sender,
            *(() if self.store is None else (self.store.users,)),
        )
        self.context.retimed.update(self.timed)
        # When each part is due, as it said when it was asked last; whichever it may have changed
        # for since is in ``context.retimed``. The least of them all, for everybody who asks.
        self._due_s: dict[Timed, float] = {}
        self._deadline_s = float("inf")

    def _new_member_events(self) -> MemberEvents:
        return MemberEvents(
            self.context, self.dialer, self.prober, self.anti_entropy, self.confirmations,
            self.lookup, self.member_list,
        )

    def _new_store(self) -> StorePeer:
        members = StoreMembers(self.context, self.wrong_times, self._member_events.tell)
        return StorePeer(
            self.context, members, self.claims, self.confirmations, self.heartbeat, self.lookup,
            self.locator, self.wrong_times, self._lose_past,
        )

    def _new_sender(self) -> Sender:
        if self.store is not None:
            return self.store.sender
        return Sender(self.context, self.confirmations, self.heartbeat)

    def _new_joiner(self) -> Joiner:
        parts = self.context, self.receiver, self.dialer, self.snapshots
        return Joiner(*parts) if self.store is None else StoreJoiner(*parts, self.store)

    # ---- what the driver calls -------------------------------------------------------------------

    def start(self, at: Moment) -> None:
        """Begin to look for the others."""
        journal = self.context.journal
        # What an agent before us applied may be in the kernel's memory only.
        journal.hold_all([(node, None) for node in self.context.cursors], at)
        if journal.works:
            self.member_list.start(at)
            self.recovery.start(at)
        self.joiner.start(at)
        self.anti_entropy.start(at)
        self.heartbeat.start(at)

    def succeed(self, before: "Engine", at: Moment) -> None:
        """Do what ``start`` does, but in the place of an engine that had lost its past."""
        self.context.multicast = before.context.multicast
        self.context.is_watched = before.context.is_watched
        self.context.takes_direct = before.context.takes_direct
        self.context.journal.succeed(before.context.journal)
        self.start(at)
        self.set_serving(before.context.serving, at)
        if self.store is not None and before.store is not None:
            self.store.succeed(before.store)
            if before.store.channel.is_up:
                self.store.channel.number = before.store.channel.number
                self.store_up(at)
        if before.joiner.aim is Phase.DRAINING:
            self.drain(at)

    def give_up(self, at: Moment) -> None:
        """Answer everybody who waits: nothing more will come of it under this node id."""
        for part in self._asked():
            part.expire(at._replace(now_s=float("inf")))

    def _asked(self) -> tuple[Confirmations | SessionLookup | Locator | StoreUsers, ...]:
        """Return the parts that owe answers."""
        parts = self.confirmations, self.lookup, self.locator
        return parts if self.store is None else (*parts, self.store.users)

    def effects(self) -> list[Effect]:
        """Take what is to be carried out since the last call, in order."""
        taken, self.context.effects = self.context.effects, []
        return self.member_list.hold(taken)

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
        self._note_moment(at)
        if self.heartbeat.handle_timer(at):
            if self.store is None:
                self._member_events.tell(self.membership.handle_timer(at.now_s), at)
            self._note_skews()
            self.wrong_times.check(at)
            if self.store is None:
                self.prober.probe_again(at)
            else:
                self.store.tick(at)
            self.sender.flush(at)
            self.context.journal.moved(self.context.head, at)
            self.sender.tick()
            # A peer that was too slow may be trusted again by now.
            self.context.view_is_stale = True
            if self.heartbeat.brief:
                self.receiver.confirm_late()
        else:
            self.sender.handle_timer(at)
        self.dialer.handle_timer(at)
        for part in self._asked():
            part.expire(at)
        self.anti_entropy.handle_timer(at)
        self.receiver.released(self.context.journal.handle_timer(at))
        self.member_list.handle_timer(at)
        self.recovery.handle_timer(at)
        self.joiner.handle_timer(at)
        self.confirmations.settle()
        if self.context.phase is not phase:
            self.heartbeat.soon(at)
            self.context.view_is_stale = True
        self._say_past(at)

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
        self.dialer.linked(peer)
        self.context.view_is_stale = True
        self._member_events.tell(self.membership.linked(identity, at.now_s), at)
        self.prober.vouch(identity.node, True)
        self.heartbeat.greet(peer, at)
        self.receiver.announce(peer)
        self.lookup.on_peer(peer)

    def link_down(self, node: bytes, reason: str, at: Moment) -> None:
        """Note that the last connection with a node is gone."""
        peer = self.context.peers.pop(node, None)
        if peer is None:
            return
        self.dialer.unlinked(peer)
        self.context.view_is_stale = True
        for part in (
            self.receiver, self.puller, self.lookup, self.joiner, self.wrong_times, self.recovery,
            self.anti_entropy,
        ):
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

    def receive_direct(self, asker: bytes, data: bytes, at: Moment) -> bytes:
        """Handle what a worker of another node has sealed; return the answer. Raises WireError."""
        message = m.decode_message(data)
        if not isinstance(message, m.DirectChange):
            raise WireError("no change")
        return m.encode_message(self.direct_changes.on_change(asker, message, at))

    def feed_moved(self, at: Moment) -> None:
        """Stream, because workers have committed or begun to wait since the last call."""
        try:
            self.confirmations.send_ahead(at)
            self.sender.flush(at)
            self.context.journal.write_wanted(at)
            self.context.journal.moved(self.context.head, at)
            self.confirmations.ask_for_the_sent(at)
            self.confirmations.settle()
        except ReplicaError as error:
            self.context.tell(ReplicaFailed(str(error)))

    def note_held(self, grant: int, places: Sequence[int], at: Moment) -> bool:
        """Note what a worker has written to the store itself; False: ``feed_moved`` must follow."""
        self._note_moment(at)
        try:
            return self.store is not None and self.store.sender.note_held(grant, places, at)
        except ReplicaError as error:
            self.context.tell(ReplicaFailed(str(error)))
            return False

    def grant_number(self) -> int | None:
        """Return the number under which workers may write to the store now; None: they may not."""
        return None if self.store is None else self.store.grant_number()

    def confirm(
        self, token: int, seq: int, *, all_peers: bool, deadline_s: float, ends: bool = False,
        keys: Sequence[str] = (),
    ) -> None:
        """Have peers confirm a worker's write; ``feed_moved`` must follow.

        ``ends``: it ends sessions. Then all members are to hold it, on their disks, and so is ours.
        ``keys``: all sessions that it wrote; none when that is not known.
        """
        self.confirmations.confirm(
            token, seq, all_peers=all_peers, deadline_s=deadline_s, ends=ends, keys=keys
        )

    def fetch(self, token: int, key: str, wanted: Mapping[bytes, int], at: Moment) -> None:
        """Look for a session that a worker does not find here, or not with the wanted writes."""
        self._note_moment(at)
        if self.store is not None and self.store.is_silent(at):
            # One request has waited in vain; the others need not.
            self.context.emit(FetchAnswered(token, False))
            return
        self.lookup.fetch(token, key, wanted, at)

    def gather(self, token: int, tag: bytes, at: Moment) -> None:
        """Bring all sessions of a user here, for a worker. Without a store they are."""
        self._note_moment(at)
        if self.store is None or self.store.is_silent(at):
            self.context.emit(FetchAnswered(token, self.store is None))
            return
        self.store.users.gather(token, tag, at)

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
        self._note_moment(at)
        self.context.phase = Phase.LEAVING
        self.context.serving = False
        try:
            self.sender.flush(at)
            self.heartbeat.send_to_all(at)
            for peer in self.context.peers.values():
                self.heartbeat.greet(peer, at)
        except ReplicaError as error:
            self.context.tell(ReplicaFailed(str(error)))

    # ---- what comes from the journal -------------------------------------------------------------

    def journal_synced(self, number: int, at: Moment) -> None:
        """Note that everything is on the disk that was appended before ``SyncJournal(number)``."""
        self.receiver.released(self.context.journal.synced(number))
        self.member_list.synced(number)
        self.confirmations.settle()

    def journal_failed(self, at: Moment) -> None:
        """Go on without the journal: nobody waits for it any more."""
        self.receiver.released(self.context.journal.failed())
        self.member_list.failed()
        self.confirmations.settle()

    def journal_works(self, at: Moment) -> None:
        """Go on with the journal, which was begun anew and has all of the replica."""
        self.context.journal.begun_anew(at)
        self.member_list.append(at)
        self.recovery.append_life(at)

    def recovered(self, page: JournalPage, at: Moment) -> None:
        """Take a part of what waits in the journal, which ``LoadRecovered`` asked for."""
        self.recovery.on_page(page, at)
        self._say_past(at)

    def dismiss(self, nodes: Collection[bytes], at: Moment) -> None:
        """Recover without some nodes: an operator says that they will not come back."""
        self.recovery.dismiss(nodes, at)
        self._say_past(at)

    def past(self, *, lost: bool) -> JournalPast:
        """Return what the next life of this node begins with; ``lost``: it has lost its past."""
        return self.recovery.past(lost=lost)

    def _say_past(self, at: Moment) -> None:
        if self.recovery.says_anew:
            self.recovery.says_anew = False
            for peer in self.context.peers.values():
                self.heartbeat.greet(peer, at)
            if self.recovery.is_over:
                # What was merged is in nobody's stream.
                self.anti_entropy.after_loss(at)

    # ---- what comes from the store ---------------------------------------------------------------

    def store_up(self, at: Moment) -> None:
        """Note that there is a connection with the store; one at a time."""
        self._with_store(lambda store: store.up(at), at)

    def store_down(self, at: Moment) -> None:
        """Note that the connection with the store is gone: nothing more is answered on it."""
        self._with_store(lambda store: store.down(at), at)

    def store_answered(self, number: int, answers: Sequence[StoreAnswer], at: Moment) -> None:
        """Take the answers to a group of calls, in their order."""
        self._with_store(lambda store: store.channel.answered(number, answers, at), at)

    def store_changed(self, keys: Sequence[str] | None, at: Moment) -> None:
        """Take note of what others have changed in the store; None: perhaps anything."""
        self._with_store(lambda store: store.changed(keys, at), at)

    def _with_store(self, act: Callable[[StorePeer], None], at: Moment) -> None:
        if self.store is None:
            return
        self.store.now(at)
        try:
            act(self.store)
        except ReplicaError as error:
            # What was answered is lost; with a new connection all of it is asked for again.
            self.context.tell(ReplicaFailed(str(error)))
            self.context.emit(DropStore())

    # ---- inside ----------------------------------------------------------------------------------

    def _note_moment(self, at: Moment) -> None:
        if self.store is not None:
            self.store.now(at)

    def _announce(self, at: Moment) -> None:
        self._note_moment(at)
        self.heartbeat.send_to_all(at)
        self.context.view_is_stale = True

    def _lose_past(self, witness: bytes) -> None:
        self.context.tell(PastLost(witness))
        self.context.emit(BeginAgain())

    def _on_heartbeat(
        self, node: bytes, message: m.Heartbeat, at: Moment, *, reliable: bool
    ) -> None:
        identity = message.identity
        # A port of 0 is for who has a store; we would tell it to peers, who would not take that.
        foreign = identity.node != node or not identity.address.port
        if foreign or self.membership.is_stale(identity):
            self.context.tell(MessageDropped(node, "a stale or foreign heartbeat"))
            return
        if message.phase is Phase.LEAVING:
            self._on_goodbye(node, at, reliable=reliable)
            return
        peer = self.context.peers.get(node)
        if peer is None:
            if not reliable:
                self.dialer.heard_of(identity.address, at, identity=identity)
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
        if reliable:
            self.recovery.on_past(node, message.past or NO_PAST, at)
        self.confirmations.settle()
        self._say_past(at)

    def _note_skews(self) -> None:
        # Not at each heartbeat: after a pause of ours, old ones wait in the socket.
        for member in self.membership.present():
            if abs(member.skew_ms) > CLOCK_SKEW_MS_NOTED:
                self.context.tell(ClockSkewed(member.identity.node, member.skew_ms))

    def _note(self, peer: Peer, message: m.Heartbeat, at: Moment, *, reliable: bool) -> None:
        member = self.membership.get(peer.node)
        assert member is not None
        changed = member.note(
            message.phase, message.serving, message.uptime_ms, message.head,
            message.wall_ms - at.wall_ms,
        )
        self.wrong_times.on_heartbeat(peer.node, message.wall_ms, at)
        newly_greeted = not peer.greeted
        changed |= newly_greeted or message.direct is not peer.takes_direct
        peer.greeted, peer.phase, peer.takes_direct = True, message.phase, message.direct
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
        elif claimed is not None and self._counts(peer, reliable=reliable):
            peer.progress.confirmed_to(claimed)
        if changed:
            self.context.view_is_stale = True

    def _counts(self, peer: Peer, *, reliable: bool) -> bool:
        """Tell whether the places that a heartbeat names confirm our writes.

        Of a peer that loads not by multicast: a datagram may be late, and speak of a place that the
        peer has left. Later its places only grow, as long as it lives. Nor on a new link before it
        has said where its stream begins: it holds nothing of what is before. And of nobody before a
        word of it by TCP was judged: it may speak of what we wrote before we lost our past.
        """
        if peer.settled:
            return reliable or self.claims.has_heard(peer.node)
        return reliable and peer.progress.cursor is not None

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

    def _on_progress(self, peer: Peer, message: m.Progress, at: Moment) -> None:
        node, provisional, claims = peer.node, message.provisional, self.claims
        believed = claims.believes(
            node, message.cursor.position, reliable=True, provisional=provisional
        )
        if believed and message.resume:
            believed = claims.knows(node, message.known, provisional=provisional)
        if believed:
            self.sender.on_progress(peer, message, at)
        else:
            self._lose_past(node)

    def _on_reliable(self, peer: Peer, message: m.Message, at: Moment) -> None:
        node = peer.node
        if isinstance(message, _COPIES) and not self.claims.remembers(message):
            self._lose_past(node)
            return
        match message:
            case m.Progress():
                self._on_progress(peer, message, at)
            case m.Fetch():
                self.lookup.on_fetch(node, message)
            case m.Fetched():
                self.locator.on_fetched(node, message, at)
            case m.Ping():
                self.context.send(node, m.Pong(message.number))
            case m.DirectChange():
                self.direct_changes.on_copies(node, message, at)
            case m.DirectAnswer():
                self.confirmations.on_answer(peer, message)
            case m.ProbeRequest():
                self.prober.on_request(node, message, at)
            case m.ProbeReply():
                self._member_events.tell(self.prober.on_reply(node, message, at), at)
            case m.SnapshotRequest():
                self.snapshots.on_request(node, message)
            case m.SnapshotPageMessage():
                self._on_page(node, message, at)
            case m.Digests():
                self.anti_entropy.on_digests(node, message, at)
            case m.Listing():
                self.anti_entropy.on_listing(node, message, at)
            case m.SessionsRequest():
                self.puller.on_request(node, message)
            case m.Sessions():
                changed = self.puller.on_sessions(node, message, at)
                if changed and not self.receiver.is_held(node):
                    self.context.tell(Repaired(node, changed))
                    self.anti_entropy.repaired(node, at)
                self.receiver.pulled(node, at)
            case _:
                pass

    def _on_page(self, node: bytes, message: m.SnapshotPageMessage, at: Moment) -> None:
        # An older node sends whole pages to whoever asks for ends.
        loads = not message.ends and self.snapshots.expects(node, message)
        if loads or not self.recovery.on_ends(node, message, at):
            self.joiner.on_page(node, message, at)
