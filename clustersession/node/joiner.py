"""From start to ready: find the others, load what they hold, catch up with their feeds.

A replica that has never been loaded takes a snapshot from one donor, page by page, each page asked
for before the last one is stored, so that both nodes work at a time and one page waits at most. The
donor keeps no state, a lost page is asked for again, and another donor can go on where one died.
The cursors that come with the pages were true before each was read, so their minimum is where the
streams begin. A node with its old replica only catches up.
"""

from collections.abc import Mapping
from itertools import islice

from clustersession.core.clock import too_far_ahead
from clustersession.core.digest import bucket_of
from clustersession.core.errors import ReplicaError
from clustersession.core.feed import Cursor
from clustersession.core.identity import Phase
from clustersession.core.state import highest_time
from clustersession.node.context import Context
from clustersession.node.dialing import Dialer
from clustersession.node.moment import Moment
from clustersession.node.news import BecameReady, MessageDropped, SnapshotLoading
from clustersession.node.receiver import Receiver
from clustersession.wire.messages import Heartbeat, SnapshotPageMessage, SnapshotRequest

LOADED_NOTE = "loaded"
TICK_S = 0.05
DISCOVERY_S = 0.5
SEEDS_DISCOVERY_S_MAX = 2.0
NOBODY_READY_S = 2.0
CATCH_UP_S_MAX = 5.0
PAGE_TIMEOUT_S = 5.0
PAGE_BYTES_MAX = 256 * 1024
CURSORS_MAX = 4096


class Joiner:
    """Brings this node from JOINING to READY."""

    def __init__(self, context: Context, receiver: Receiver, dialer: Dialer) -> None:
        self._context = context
        self._receiver = receiver
        self._dialer = dialer
        self._started_s = 0.0
        self._donor: bytes | None = None
        self._page_deadline_s = float("inf")
        self._after_key = ""
        self._unstored: tuple[bytes, SnapshotPageMessage] | None = None
        self._inherited: dict[bytes, Cursor] = {}
        self._doubted: set[bytes] = set()
        self._heads: dict[bytes, int] = {}
        self._pages = 0
        self._page_s = 0.0
        self._loaded = 0
        self._how = ""
        self.aim = Phase.READY
        self._loaded_s = 0.0
        self._looked_s = 0.0

    def start(self, at: Moment) -> None:
        """Begin; the receiver may stream at once when the replica was loaded before."""
        self._started_s = self._loaded_s = self._page_s = at.now_s
        self._context.retimed.add(self)
        self._receiver.loaded = self._context.replica.load_note(LOADED_NOTE) is not None
        for peer in self._context.peers.values():
            self._receiver.announce(peer)

    def on_heartbeat(self, node: bytes, message: Heartbeat) -> None:
        """The first word of a peer says how far there is to catch up."""
        if self._context.phase is Phase.JOINING:
            self._heads.setdefault(node, message.head)

    def on_page(self, node: bytes, message: SnapshotPageMessage, at: Moment) -> None:
        """A page of the donor's sessions: ask for the next one, and store this one then."""
        if node != self._donor or message.after_key != self._after_key:
            return
        onwards = message.done or _place(message.next_key) > _place(self._after_key)
        if not onwards:
            self._donor = None
            return
        if not self._store(at) or self._donor is None:
            # Refused, or it was the last one: this is a second answer.
            return
        self._page_s = at.now_s
        self._unstored = node, message
        self._context.retimed.add(self)
        if message.done:
            self._page_deadline_s = float("inf")
            return
        self._after_key = message.next_key
        self._ask_page(at)

    def _store(self, at: Moment) -> bool:
        """Store the page that waits; False when that failed, and it will be asked for again."""
        if self._unstored is None:
            return True
        (donor, message), self._unstored = self._unstored, None
        self._context.retimed.add(self)
        try:
            self._context.replica.merge(message.sessions, at.wall_ms)
            self._lower(message.cursors)
            self._doubted |= self._writers_from_the_future(message, at)
            if message.done:
                self._finish_loading("loaded a snapshot", at)
        except ReplicaError as error:
            # A full disk, say. What was asked for since does not fit behind what is here.
            self._after_key = message.after_key
            self._page_deadline_s = at.now_s + PAGE_TIMEOUT_S
            self._context.tell(MessageDropped(donor, f"the replica failed: {type(error).__name__}"))
            return False
        self._loaded += len(message.sessions)
        self._context.tell(SnapshotLoading(donor, self._loaded, message.total))
        return True

    def on_page_request(self, node: bytes, message: SnapshotRequest) -> None:
        """We are somebody's donor."""
        page = self._context.replica.snapshot(message.after_key, PAGE_BYTES_MAX)
        sessions = tuple(s for s in page.sessions if self._context.fits(*s))
        # A node that is not named begins with the feed from its start, which is never wrong.
        cursors = dict(islice(page.cursors.items(), CURSORS_MAX))
        self._context.send(
            node,
            SnapshotPageMessage(
                message.after_key, sessions, page.next_key, page.done, cursors,
                self._context.replica.stats().sessions,
            ),
        )

    def forget(self, node: bytes) -> None:
        """The connection to a node is gone; another donor goes on."""
        self._heads.pop(node, None)
        if node == self._donor:
            self._donor = None
            self._page_deadline_s = float("inf")

    def handle_timer(self, at: Moment) -> None:
        """Move on when a wait is over."""
        context = self._context
        self._looked_s = at.now_s
        self._context.retimed.add(self)
        self._store(at)
        waited_s = at.now_s - self._started_s
        if not context.discovered and waited_s >= DISCOVERY_S:
            patience_s = SEEDS_DISCOVERY_S_MAX if context.settings.seeds else 2 * DISCOVERY_S
            context.discovered = not self._dialer.untried() or waited_s >= patience_s
        if context.phase is not Phase.JOINING:
            return
        if not self._receiver.loaded:
            self._load(waited_s, at)
        if self._receiver.loaded and context.discovered:
            self._catch_up(at)

    def next_deadline(self) -> float:
        """When ``handle_timer`` has something to do."""
        if self._context.phase is not Phase.JOINING and self._context.discovered:
            return float("inf")
        return self._looked_s + (TICK_S if self._unstored is None else 0.0)

    def _load(self, waited_s: float, at: Moment) -> None:
        context = self._context
        if self._donor is not None and at.now_s >= self._page_deadline_s:
            self._donor = None
        if self._donor is not None:
            return
        settled = [p for p in context.peers.values() if p.settled]
        if at.now_s - self._page_s > context.settings.join_timeout_s:
            self._inherited.clear()
            self._finish_loading("no donor answered in time; sessions are fetched on demand", at)
        elif settled:
            self._donor = settled[context.choose(len(settled))].node
            self._ask_page(at)
        elif context.discovered and self._may_start_alone(waited_s):
            # What a donor that died had begun to send is no reason to skip the rest of any feed.
            self._inherited.clear()
            self._finish_loading("no peer holds sessions", at)

    def _may_start_alone(self, waited_s: float) -> bool:
        # Nodes started together all wait for a donor: the lowest id among those that see each other
        # goes first, the others then take its (small) snapshot.
        peers = self._context.peers
        return (
            not peers
            or (all(p.greeted for p in peers.values()) and self._context.own.node < min(peers))
            or waited_s > NOBODY_READY_S
        )

    def _ask_page(self, at: Moment) -> None:
        assert self._donor is not None
        self._page_deadline_s = at.now_s + PAGE_TIMEOUT_S
        self._context.send(self._donor, SnapshotRequest(self._after_key))

    def _lower(self, cursors: Mapping[bytes, Cursor]) -> None:
        if self._pages == 0:
            self._inherited.update(cursors)
        self._pages += 1
        # A node that an earlier page did not know may have written what that page lacks.
        self._inherited = {
            node: Cursor(
                min(known.floor, cursors[node].floor), min(known.position, cursors[node].position)
            )
            for node, known in self._inherited.items()
            if node in cursors
        }

    def _writers_from_the_future(self, message: SnapshotPageMessage, at: Moment) -> set[bytes]:
        """Who wrote what the replica has passed over, because its stamp is too far ahead.

        Their feeds are followed from the start, which is refused until the time has come: to
        inherit a cursor would be to confirm what is not here.
        """
        lead_ms_max = self._context.settings.stamp_lead_ms_max
        writers: set[bytes] = set()
        for _, state in message.sessions:
            if too_far_ahead(highest_time(state), at.wall_ms, lead_ms_max):
                writers |= state.versions.keys()
        return writers

    def _finish_loading(self, how: str, at: Moment) -> None:
        context = self._context
        for node in {context.own.node, *self._doubted}:
            self._inherited.pop(node, None)
        self._receiver.finish_loading(self._inherited)
        context.replica.save_note(LOADED_NOTE, how.encode())
        self._how = how
        self._loaded_s = at.now_s
        self._donor = None

    def _catch_up(self, at: Moment) -> None:
        context = self._context
        behind = [
            node for node, head in self._heads.items()
            if node in context.peers and context.cursor(node).floor < head
        ]
        ungreeted = any(not p.greeted for p in context.peers.values())
        if (behind or ungreeted) and at.now_s < self._loaded_s + CATCH_UP_S_MAX:
            return
        context.phase = self.aim
        self._heads.clear()
        how = self._how or (
            "caught up with its peers" if context.peers else "alone, with what its replica holds"
        )
        context.view_is_stale = True
        context.tell(BecameReady(how if not behind else f"{how}, still catching up"))


def _place(key: str) -> tuple[int, str]:
    """Where a key stands in the order of snapshots; the empty key stands before all."""
    return (bucket_of(key), key) if key else (-1, "")
