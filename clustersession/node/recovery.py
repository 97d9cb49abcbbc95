"""Brings back what was in the replica before the power went, once no logout can be undone by it.

Ends count at once. Live sessions wait in the journal until we have the ends of every member of our
newest list: somebody may have logged out there while we were away already. What a peer says of its
own past makes it one of those members; what it says of third ones makes nobody less required, only
more: while it recovers itself, its list counts like ours.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import NamedTuple

from clustersession.core.errors import ReplicaError
from clustersession.core.identity import NODE_ID_BYTES
from clustersession.node.context import Context
from clustersession.node.effects import LoadRecovered, RecoveryOver
from clustersession.node.ends_fetcher import EndsFetcher
from clustersession.node.journal_port import JournalPage, JournalPast
from clustersession.node.member_list import MemberList
from clustersession.node.moment import Moment
from clustersession.node.news import Recovered, RecoveryDropped, RecoveryWaits
from clustersession.wire.fields import NO_PAST, Past
from clustersession.wire.journal import JournalLife
from clustersession.wire.messages import SnapshotPageMessage

FORMER_MAX = 64
DAMAGED = bytes(NODE_ID_BYTES)
"""Stands for what a damaged part of our own journal said: no node has it."""
PAGE_AGAIN_S = 1.0
PAGE_LATE_S = 30.0
"""How long the journal may take to read a page that is to be merged: its disk may fail by then."""


class RecoveryStage(StrEnum):
    """Says how far a recovery is."""

    ENDS = "loading ends"
    WAITING = "waiting for members"
    MERGING = "merging"
    OVER = "over"


class RecoveryStatus(NamedTuple):
    """Is what people are told. missing: whose ends are still to come, by node id with the route.

    merged: how many sessions were brought back. left_s: after how long what waits is dropped.
    """

    stage: RecoveryStage
    missing: dict[bytes, str]
    merged: int
    left_s: float


class Recovery:
    """Is the recovery of one life of a node; one that has nothing to recover is over at once."""

    def __init__(self, context: Context, member_list: MemberList, past: JournalPast) -> None:
        self._context = context
        self._member_list = member_list
        self._ends = EndsFetcher(context)
        own = context.own.node
        self.stage = RecoveryStage.ENDS if past.waiting else RecoveryStage.OVER
        # The node ids of our former lives, for which we vouch.
        self._former = past.former
        if past.node not in (b"", own):
            vouches = past.waiting and past.whole
            self._former = (past.node, *past.former)[:FORMER_MAX] if vouches else ()
        # Whose ends we need: what the list said when the power went. Where a part of the journal is
        # damaged, an operator has to decide.
        self._required: dict[bytes, str] = {}
        # The node ids of former lives for which we do not vouch, because of that damage.
        self._disowned: set[bytes] = set()
        if past.waiting:
            ours = {own, *self._former}
            self._required = {n: r for n, r in past.members.items() if n not in ours}
            if not past.whole:
                self._required[DAMAGED] = context.own.route
                self._disowned = {past.node, *past.former} - {own}
        # Who will not come back, by an operator's word, here or at a peer.
        self._dismissed: frozenset[bytes] = frozenset()
        # What each peer says of its past.
        self._pasts: dict[bytes, Past] = {}
        # The page of the journal that is under way, and when it is asked for again.
        self._after_key = ""
        self._page_s = float("inf")
        self._merged = 0
        # When what waits is dropped; until its ends are loaded, at least when its disk
        # is given up.
        self._until_s = float("inf")
        # When the nodes that are missing are not waited for any longer.
        self._waits_until_s = float("inf")
        # True when peers are to be told of our past anew.
        self.says_anew = False

    @property
    def is_over(self) -> bool:
        """Tell whether nothing waits."""
        return self.stage is RecoveryStage.OVER

    def start(self, at: Moment) -> None:
        """Begin."""
        self.append_life(at)
        if not self.is_over:
            self._member_list.keep(self._required, at)
            self._waits_until_s = at.now_s + self._context.settings.recovery_wait_s
            self._wait_for_page(at)
            self._load("", at)
        self._say()

    def told(self) -> Past:
        """Return what peers are told of our past."""
        if self.is_over:
            return Past(self._former, dismissed=tuple(sorted(self._dismissed)))
        return Past(
            self._former, self.stage is not RecoveryStage.ENDS,
            tuple(sorted(self._required)), tuple(sorted(self._dismissed)),
        )

    def past(self, *, lost: bool) -> JournalPast:
        """Return what the next life of this node begins with; ``lost``: it has lost its past."""
        own = self._context.own.node
        former = () if lost else (own, *self._former)[:FORMER_MAX]
        return JournalPast(
            b"", former, self._member_list.listed,
            whole=DAMAGED not in self._required, waiting=not self.is_over,
        )

    def status(self, at: Moment) -> RecoveryStatus:
        """Return what people are told."""
        missing = {n: self._required.get(n, "") for n in self._missing()}
        return RecoveryStatus(self.stage, missing, self._merged, max(0.0, self._until_s - at.now_s))

    # ---- what comes from the journal -------------------------------------------------------------

    def on_page(self, page: JournalPage, at: Moment) -> None:
        """Merge a part of what waits, and ask for the next one."""
        loads_ends = self.stage is RecoveryStage.ENDS
        if self.is_over or page.ends is not loads_ends or page.after_key != self._after_key:
            return
        try:
            self._merged += self._context.replica.restore(page.sessions, at.wall_ms)
        except ReplicaError:
            # The disk may be full.
            self._page_s = at.now_s + PAGE_AGAIN_S
            self._context.retimed.add(self)
            return
        if not page.done:
            self._wait_for_page(at)
            self._load(page.next_key, at)
        elif loads_ends:
            self._page_s = float("inf")
            self.stage, self._until_s = RecoveryStage.WAITING, self._waits_until_s
            self._context.retimed.add(self)
            self._say()
            self._context.tell(RecoveryWaits(dict(self._required)))
            self.look(at)
        else:
            self._end(at)
            self._context.tell(Recovered(self._merged))

    def _wait_for_page(self, at: Moment) -> None:
        """Let what is in our own journal come, however short the wait for others is."""
        self._until_s = max(self._waits_until_s, at.now_s + PAGE_LATE_S)

    def _load(self, after_key: str, at: Moment) -> None:
        self._after_key, self._page_s = after_key, float("inf")
        if self.stage is RecoveryStage.MERGING:
            self._until_s = at.now_s + PAGE_LATE_S
        self._context.emit(LoadRecovered(self.stage is RecoveryStage.ENDS, after_key))
        self._context.retimed.add(self)

    # ---- what comes from peers -------------------------------------------------------------------

    def on_past(self, node: bytes, past: Past, at: Moment) -> None:
        """Note what a peer says of its past; ask for its ends, again when it has got them all."""
        before = self._pasts.get(node)
        self._pasts[node] = past
        if self.is_over or past == before:
            return
        if not self._dismissed.issuperset(past.dismissed):
            self._dismissed |= frozenset(past.dismissed)
            self._say()
        if past.loaded and (before is None or before.is_over is not past.is_over
                            or before.loaded is not past.loaded):
            self._ends.fetch(node, at)
            self._context.retimed.add(self)
        self.look(at)

    def on_ends(self, node: bytes, message: SnapshotPageMessage, at: Moment) -> bool:
        """Take a page of a peer's ends; False: it is not one that we asked for."""
        self._context.retimed.add(self)
        taken = self._ends.on_page(node, message, at)
        self.look(at)
        return taken

    def forget(self, node: bytes) -> None:
        """Forget a peer whose connection is gone; what it gave us stays."""
        self._pasts.pop(node, None)
        self._ends.forget(node)
        self._context.retimed.add(self)

    # ---- when it is over -------------------------------------------------------------------------

    def dismiss(self, nodes: Collection[bytes], at: Moment) -> None:
        """Do without some nodes: an operator says that they will not come back."""
        self._dismissed |= frozenset(nodes)
        if DAMAGED in nodes:
            self._dismissed |= self._disowned
        self._say()
        self.look(at)

    def look(self, at: Moment) -> None:
        """Begin to merge when nobody is missing."""
        if self.stage is RecoveryStage.WAITING and not self._missing():
            self.stage = RecoveryStage.MERGING
            self._load("", at)

    def _missing(self) -> set[bytes]:
        """Return the nodes whose ends are still to come."""
        if self.is_over:
            return set()
        covered: dict[bytes, Past] = {self._context.own.node: NO_PAST}
        covered.update((node, NO_PAST) for node in self._former)
        for node in self._ends.fetched:
            past = self._pasts[node]
            covered.update((each, past) for each in (node, *past.former))
        missing: set[bytes] = set()
        looked_at: set[bytes] = set(self._dismissed)
        ahead = list(self._required)
        while ahead:
            node = ahead.pop()
            if node in looked_at:
                continue
            looked_at.add(node)
            if node in covered:
                ahead += covered[node].requires
            else:
                missing.add(node)
        return missing

    def handle_timer(self, at: Moment) -> None:
        """Drop what has waited for too long."""
        if self.is_over:
            return
        self._context.retimed.add(self)
        self._ends.handle_timer(at)
        if at.now_s >= self._page_s:
            self._load(self._after_key, at)
        if at.now_s >= self._until_s:
            # We vouch no more for what we were: who waits for us must not take our word either.
            self._former = ()
            self._context.tell(RecoveryDropped(tuple(self._missing())))
            self._end(at)
            self.append_life(at)

    def next_deadline(self) -> float:
        """Return when ``handle_timer`` has something to do."""
        if self.is_over:
            return float("inf")
        return min(self._until_s, self._page_s, self._ends.next_deadline())

    def _end(self, at: Moment) -> None:
        self.stage = RecoveryStage.OVER
        self._required, self._until_s, self._page_s = {}, float("inf"), float("inf")
        self._context.retimed.add(self)
        self._context.emit(RecoveryOver())
        self._say()
        self._member_list.keep((), at)

    def _say(self) -> None:
        self._context.past = self.told()
        self.says_anew = True

    def append_life(self, at: Moment) -> None:
        """Write down who we are and were."""
        self._context.journal.append_soon(
            [JournalLife(self._context.own.node, self._former)], at
        )
