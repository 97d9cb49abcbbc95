"""Moves all sessions from a donor to a node that joins, page by page.

Each page is asked for before the last one is stored, so that both nodes work at a time and one page
waits at most. The donor keeps no state, a lost page is asked for again, and another donor can go on
where one died. The cursors that come with the pages were true before each was read, so their
minimum is where the streams begin.
"""

from collections.abc import Mapping
from itertools import islice

from clustersession.core.clock import too_far_ahead
from clustersession.core.digest import bucket_of
from clustersession.core.errors import ReplicaError
from clustersession.core.feed import Cursor
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import highest_time
from clustersession.node.context import Context
from clustersession.node.moment import Moment
from clustersession.node.news import MessageDropped, SnapshotLoading
from clustersession.node.receiver import Receiver
from clustersession.wire.messages import SnapshotPageMessage, SnapshotRequest

LOADED_NOTE = "loaded"
PAGE_TIMEOUT_S = 5.0
PAGE_BYTES_MAX = 64 * 1024
"""Some two hundred small sessions: reading, encoding and storing them holds up nobody for long.
Each page costs a way there and back, which on a busy host is a wait for the processor."""
CURSORS_MAX = 4096


class Snapshots:
    """Loads a snapshot from one donor after another, and is a donor to others."""

    def __init__(self, context: Context, receiver: Receiver) -> None:
        self._context = context
        self._receiver = receiver
        # The node that is asked for pages. None: nobody is asked at present, because the loading
        # has not begun or is over, or the donor is gone, too slow, or talks nonsense.
        self._donor: bytes | None = None
        # When the donor has been too slow with the page that it was asked for; infinite while no
        # page is under way.
        self._page_deadline_s = float("inf")
        # The page that is asked for begins after this key. It only grows, in the order of
        # ``_place``, except that a page which could not be stored is asked for again.
        self._after_key = ""
        # A page that has come, and who sent it, until ``store``; the next is under way already.
        self._unstored: tuple[bytes, SnapshotPageMessage] | None = None
        # Where to begin each node's feed when all is loaded: the least that came with any page
        # stored so far. Nodes that some page did not name are missing, and begin at the start.
        self._inherited: dict[bytes, Cursor] = {}
        # Writers whose feeds are followed from the start, whatever the donor says.
        self._doubted: set[bytes] = set()
        # How many pages and sessions have been stored.
        self._pages = 0
        self._loaded = 0
        # When the last page came, and before the first: when we began.
        self.page_s = 0.0
        # How the replica came to be loaded in this life, in words; empty before that, and in a life
        # that found it loaded. When that was; the start of the life if it was found so.
        self.how = ""
        self.loaded_s = 0.0

    @property
    def waiting(self) -> bool:
        """Tell whether a page has come that is not stored yet."""
        return self._unstored is not None

    def start(self, at: Moment) -> None:
        """Begin the life; whether there is anything to load, the replica remembers."""
        self.loaded_s = self.page_s = at.now_s
        self._receiver.loaded = self._context.replica.load_note(LOADED_NOTE) is not None

    def is_under_way(self, at: Moment) -> bool:
        """Tell whether a donor is about to answer; one that is too slow is given up."""
        if self._donor is not None and at.now_s >= self._page_deadline_s:
            self._donor = None
        return self._donor is not None

    def load_from(self, donor: bytes, at: Moment) -> None:
        """Go on with another donor, or begin."""
        self._donor = donor
        self._ask_page(at)

    def do_without(self, how: str, at: Moment) -> None:
        """Take the replica for loaded as it is.

        What a donor that died had begun to send is no reason to skip the rest of any feed.
        """
        self._inherited.clear()
        self._finish(how, at)

    def expects(self, node: bytes, message: SnapshotPageMessage) -> bool:
        """Tell whether this may be the page that is under way."""
        return node == self._donor and message.after_key == self._after_key

    def on_page(self, node: bytes, message: SnapshotPageMessage, at: Moment) -> None:
        """Ask for the page that follows a donor's, and store this one then."""
        if message.ends or not self.expects(node, message):
            return
        onwards = message.done or _place(message.next_key) > _place(self._after_key)
        if not onwards:
            self._donor = None
            return
        if not self.store(at) or self._donor is None:
            # Refused, or it was the last one: this is a second answer.
            return
        self.page_s = at.now_s
        self._unstored = node, message
        if message.done:
            self._page_deadline_s = float("inf")
            return
        self._after_key = message.next_key
        self._ask_page(at)

    def store(self, at: Moment) -> bool:
        """Store the page that waits; False when that failed, and it will be asked for again."""
        if self._unstored is None:
            return True
        (donor, message), self._unstored = self._unstored, None
        try:
            self._context.merge(message.sessions, at)
            self._lower(message.cursors)
            self._doubted |= self._writers_from_the_future(message, at)
            if message.done:
                self._finish("loaded a snapshot", at)
        except ReplicaError as error:
            # The disk may be full. The page that was asked for since does not follow ours.
            self._after_key = message.after_key
            self._page_deadline_s = at.now_s + PAGE_TIMEOUT_S
            reason = f"the replica failed: {type(error).__name__}"
            self._context.tell(MessageDropped(donor, reason))
            return False
        self._loaded += len(message.sessions)
        self._context.tell(SnapshotLoading(donor, self._loaded, message.total))
        return True

    def on_request(self, node: bytes, message: SnapshotRequest) -> None:
        """Send a page to a node that joins."""
        page = self._context.replica.snapshot(message.after_key, PAGE_BYTES_MAX)
        sessions = tuple(
            (key, state)
            for key, state in page.sessions
            if not (message.ends and state.ended is None and key[0] != RESERVED_PREFIX)
            and self._context.keeps(node, key) and self._context.fits(key, state)
        )
        # A node that is not named begins with the feed from its start, which is never wrong.
        cursors = dict(islice(page.cursors.items(), CURSORS_MAX))
        stats = self._context.replica.stats()
        self._context.send(
            node,
            SnapshotPageMessage(
                message.after_key, sessions, page.next_key, page.done, cursors,
                stats.sessions + stats.tombstones, message.ends,
            ),
        )

    def forget(self, node: bytes) -> None:
        """Go on with another donor when the connection to this one is gone."""
        if node == self._donor:
            self._donor = None
            self._page_deadline_s = float("inf")

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
        """Return who wrote what the replica has passed over, because its stamp is too far ahead.

        Their feeds are followed from the start, which is refused until the time has come: to
        inherit a cursor would be to confirm what is not here.
        """
        lead_ms_max = self._context.settings.stamp_lead_ms_max
        writers: set[bytes] = set()
        for _, state in message.sessions:
            if too_far_ahead(highest_time(state), at.wall_ms, lead_ms_max):
                writers |= state.versions.keys()
        return writers

    def _finish(self, how: str, at: Moment) -> None:
        context = self._context
        for node in {context.own.node, *self._doubted}:
            self._inherited.pop(node, None)
        self._receiver.finish_loading(self._inherited, at)
        context.replica.save_note(LOADED_NOTE, how.encode())
        self.how = how
        self.loaded_s = at.now_s
        self._donor = None


def _place(key: str) -> tuple[int, str]:
    """Return where a key stands in the order of snapshots; the empty key stands before all."""
    return (bucket_of(key), key) if key else (-1, "")
