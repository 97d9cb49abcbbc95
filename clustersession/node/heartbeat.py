"""Sends this node's heartbeat: to the group, and by TCP to every peer that does not hear it."""

from clustersession.core.detector import PAUSE_INTERVALS
from clustersession.core.identity import Address, Phase
from clustersession.node.context import DATAGRAM_PAYLOAD_BYTES_MAX, Context, Peer
from clustersession.node.effects import Multicast
from clustersession.node.moment import Moment
from clustersession.node.news import MulticastHeard, MulticastUnheard
from clustersession.wire.fields import MEMBERS_MAX, Past
from clustersession.wire.messages import Heartbeat, encode_message

TRAILING_S = (0.02, 0.06)
FIRST_S = (0.1, 0.2)
SOON_INTERVAL_S = 0.05
UNHEARD_INTERVALS = 6


class HeartbeatSender:
    """Decides when a heartbeat goes out, to whom, and what it says."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # When this life began; what we call our uptime counts from here.
        self._started_s = 0.0
        # When the next regular heartbeat is due. It moves on by one interval with each of them, or
        # more after a pause of ours.
        self._next_s = 0.0
        # When the last heartbeat went to everybody, regular or not.
        self._last_s = float("-inf")
        # When heartbeats out of turn are due, because something changed; each goes when it is sent.
        self._extra_s: list[float] = []
        # When the last datagram with changes went out, and how far in our feed it got.
        self._datagram_s = float("-inf")
        self._datagram_head = 0
        # When heartbeats are due that show the loss of a datagram, and for the datagram of which
        # time they were planned. A later datagram plans them anew.
        self._trailing_s: list[float] = []
        self._trailing_for_s = float("-inf")
        # When the group last carried something of our own back to us; never before the first time.
        self._self_heard_s = float("-inf")
        # True from the moment that we gave up hearing ourselves until we do.
        self._unheard = False
        # Whether the last datagram to the group had no room for cursors, so that it confirmed
        # nothing to anybody.
        self.brief = False
        # How many regular heartbeats were sent.
        self.ticks = 0

    def start(self, at: Moment) -> None:
        """Begin fast, so that the others answer fast."""
        self._started_s = self._next_s = at.now_s
        self._extra_s = [at.now_s + after_s for after_s in FIRST_S]
        self._context.retimed.add(self)

    def follow_datagram(self, upto: int, at: Moment) -> None:
        """Have heartbeats follow a datagram that took our feed up to there: they show its loss."""
        self._datagram_s, self._datagram_head = at.now_s, upto
        self._context.retimed.add(self)

    def heard_self(self, at: Moment) -> None:
        """Note that our own datagram came back from the group, so that it works."""
        self._self_heard_s = at.now_s
        if self._unheard:
            self._unheard = False
            self._context.tell(MulticastHeard())

    @property
    def multicast_works(self) -> bool:
        """Tell whether the group carries at least our own heartbeats."""
        return self._self_heard_s > float("-inf") and not self._unheard

    def soon(self, at: Moment) -> None:
        """Plan a heartbeat, because something changed that the others should know now.

        Not within an instant of the last one: nodes that start together ask each other for one,
        and each would answer the other's with its own, which asks again.
        """
        due_s = max(at.now_s, self._last_s + SOON_INTERVAL_S)
        if all(s > due_s for s in self._extra_s):
            self._extra_s.append(due_s)
            self._context.retimed.add(self)

    def handle_timer(self, at: Moment) -> bool:
        """Send what is due; True when a regular heartbeat interval has passed."""
        self._context.retimed.add(self)
        sent_s = self._datagram_s
        if sent_s > self._trailing_for_s:
            # A later datagram shows the loss of those before it.
            self._trailing_for_s = sent_s
            self._trailing_s = [sent_s + after_s for after_s in TRAILING_S]
        regular = at.now_s >= self._next_s
        extra_s = [*self._extra_s, *self._trailing_s]
        if not regular and not any(due_s <= at.now_s for due_s in extra_s):
            return False
        self._extra_s = [s for s in self._extra_s if s > at.now_s]
        self._trailing_s = [s for s in self._trailing_s if s > at.now_s]
        if regular:
            self.ticks += 1
            interval_s = self._context.settings.heartbeat_interval_s
            if self.multicast_works and at.now_s - self._next_s > PAUSE_INTERVALS * interval_s:
                # We stood still ourselves and are no judge of what we did not hear.
                self._self_heard_s = at.now_s
            self._next_s = max(self._next_s + interval_s, at.now_s + interval_s / 2)
            self._check_multicast(at)
        self.send_to_all(at)
        return regular

    def next_deadline(self) -> float:
        """Return when the next heartbeat is due."""
        sent_s = self._datagram_s
        if sent_s > self._trailing_for_s:
            # While datagrams follow each other faster than that, there is nothing to do.
            return min([self._next_s, *self._extra_s, sent_s + TRAILING_S[0]])
        return min([self._next_s, *self._extra_s, *self._trailing_s])

    def send_to_all(self, at: Moment) -> None:
        """Send one heartbeat to everybody."""
        self._last_s = at.now_s
        context = self._context
        if context.multicast:
            context.emit(Multicast(self._for_group(at)))
        for peer in context.peers.values():
            if not (context.multicast and peer.hears_us):
                self.greet(peer, at)

    def greet(self, peer: Peer, at: Moment) -> None:
        """Send a heartbeat to one peer, with where the others listen."""
        members = tuple(m.identity.address for m in self._context.membership.present())
        message = self.message(at, members=members[:MEMBERS_MAX], past=self._context.past)
        self._context.send(peer.node, message)

    def _for_group(self, at: Moment) -> bytes:
        data = encode_message(self.message(at))
        self.brief = len(data) > DATAGRAM_PAYLOAD_BYTES_MAX
        if not self.brief:
            return data
        # Above some thirty members the cursors no longer fit, and nothing is confirmed by this.
        return encode_message(self.message(at, brief=True))

    def message(
        self, at: Moment, *, members: tuple[Address, ...] = (), brief: bool = False,
        past: Past | None = None,
    ) -> Heartbeat:
        """Return what a heartbeat says at present."""
        context = self._context
        heard_after_s = at.now_s - context.settings.drop_time_s
        return Heartbeat(
            identity=context.own,
            uptime_ms=int((at.now_s - self._started_s) * 1000),
            phase=context.phase,
            serving=context.serving,
            wall_ms=at.wall_ms,
            head=context.replica.head(),
            multicast_head=self._datagram_head,
            cursors={} if brief else {
                n: cursor for n in context.peers if (cursor := context.told(n)) is not None
            },
            heard=tuple(
                p.node for p in context.peers.values() if p.multicast_heard_s > heard_after_s
            ),
            suspects=tuple(
                (m.identity.node, m.identity.incarnation)
                for m in context.membership.present()
                if m.status == "suspect"
            ),
            members=members,
            asks=context.phase is Phase.JOINING,
            direct=context.takes_direct,
            past=past,
        )

    def _check_multicast(self, at: Moment) -> None:
        if not self._context.multicast or self._unheard:
            return
        silence_s = UNHEARD_INTERVALS * self._context.settings.heartbeat_interval_s
        if at.now_s - max(self._self_heard_s, self._started_s) > silence_s:
            self._unheard = True
            self._context.tell(MulticastUnheard())
