"""Keeps how far one peer has got with our change feed, for the sender.

The receiver leads: nothing is sent before it has said where to begin, and whenever it finds a gap
it says so again. ``cursor`` is where the next batch starts, which is ahead of what is confirmed
by at most a window of batches and bytes; so a slow peer costs a number, not a queue.
"""

from collections import deque
from collections.abc import Callable

from clustersession.core.feed import START, Batch, Cursor, advance

WINDOW_BATCHES = 16
WINDOW_BYTES = 4 * 2**20
FAR_PLACES = 64
FAR_BYTES = 16 * 2**10
"""What is taken in a few milliseconds is not worth another message to get past it."""


class PeerProgress:
    """Keeps what a sender knows of one peer that follows our feed.

    cursor: where the next batch starts: what was sent, confirmed or not. None until the peer has
        said where to begin; moves on with each batch, and anywhere when the peer resumes.
    confirmed: what the peer has said it holds; never behind what it said before, but for a resume.
    lagging: somebody waited for this peer in vain; until it confirms something more.
    refuses: tells of a place up to ``confirmed`` that the peer holds nothing of it; None: it holds
        all.
    asked: the last batch that expects a confirmation asked for it at once.
    _provisional_floor: a peer that loads a snapshot holds none of our writes up to here, although
        its cursor says so; 0 for all others.
    _in_flight: place and size of each batch that is sent and unconfirmed, oldest first; bounded by
        the window.
    """

    __slots__ = (
        "_in_flight", "_provisional_floor", "asked", "confirmed", "cursor", "lagging", "refuses",
    )  # fmt: skip

    def __init__(self) -> None:
        self.cursor: Cursor | None = None
        self.confirmed = START
        self.lagging = False
        self.asked = False
        self.refuses: Callable[[int], bool] | None = None
        self._provisional_floor = 0
        self._in_flight: deque[tuple[int, int]] = deque()

    def may_send(self, head: int) -> bool:
        """Tell whether the peer waits for more and the window is open."""
        return (
            self.cursor is not None
            and (self.cursor.position < head or self.cursor.floor < self.cursor.position)
            and len(self._in_flight) < WINDOW_BATCHES
            and sum(size for _, size in self._in_flight) < WINDOW_BYTES
        )

    @property
    def is_half_full(self) -> bool:
        """Tell whether one more batch makes the window half full: a confirmation is wanted then."""
        return (
            len(self._in_flight) + 1 >= WINDOW_BATCHES // 2
            or sum(size for _, size in self._in_flight) >= WINDOW_BYTES // 2
        )

    def is_far_from(self, seq: int) -> bool:
        """Tell whether much of our feed is still to be taken before our write number ``seq``."""
        cursor = START if self.cursor is None else self.cursor
        bytes_before = sum(size for _, size in self._in_flight)
        return seq - cursor.position > FAR_PLACES or bytes_before > FAR_BYTES

    @property
    def awaits_confirmation(self) -> bool:
        """Tell whether something that went out by TCP is not confirmed yet."""
        return bool(self._in_flight)

    def sent(
        self,
        batch: Batch,
        size_bytes: int,
        *,
        asked: bool = True,
        expects_confirmation: bool = True,
    ) -> None:
        """Note that a batch that begins at our cursor is on its way, so many bytes of it.

        Not ``asked`` to, the peer confirms it with its next heartbeat.
        """
        assert self.cursor is not None
        # Each reading of the feed is newer than the one before, so only the place counts here.
        self.cursor = advance(self.cursor, batch)._replace(scanned=0)
        if expects_confirmation:
            self._in_flight.append((batch.upto, size_bytes))
            self.asked = asked

    def confirmed_to(self, cursor: Cursor) -> None:
        """Note that the peer has applied everything up to a place."""
        if cursor.floor > self.confirmed.floor:
            self.lagging = False
        self.confirmed = Cursor(
            max(self.confirmed.floor, cursor.floor), max(self.confirmed.position, cursor.position)
        )
        while self._in_flight and self._in_flight[0][0] <= cursor.position:
            self._in_flight.popleft()

    def resume(self, cursor: Cursor, *, provisional: bool = False) -> None:
        """Begin anew where the peer says; ``provisional``: it does not hold what is before."""
        self.cursor = cursor
        self.confirmed = cursor
        self._provisional_floor = cursor.floor if provisional else 0
        self._in_flight.clear()

    def holds(self, seq: int) -> bool:
        """Tell whether the peer has confirmed that it holds our write number ``seq``."""
        held = self._provisional_floor < seq <= self.confirmed.floor
        return held and not self.is_refused(seq)

    def is_refused(self, seq: int) -> bool:
        """Tell whether the peer has passed our write number ``seq`` by, and does not hold it."""
        return self.refuses is not None and seq <= self.confirmed.floor and self.refuses(seq)
