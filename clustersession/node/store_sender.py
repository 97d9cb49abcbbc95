"""Pushes this node's feed to the store, and says how far the store has it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from clustersession.core.clock import wall_ms_of
from clustersession.core.feed import Batch, Cursor, advance
from clustersession.core.progress import PeerProgress
from clustersession.core.state import Delta, SessionState, shared
from clustersession.node.confirmations import Confirmations
from clustersession.node.context import Context, copy_bytes_max
from clustersession.node.heartbeat import HeartbeatSender
from clustersession.node.moment import Moment
from clustersession.node.news import FutureRefused
from clustersession.node.sender import Sender
from clustersession.node.store_calls import (
    STORE,
    Damaged,
    Enter,
    KeepCursor,
    Merge,
    MergeAnswer,
    Read,
    StoreAnswer,
    StoreCall,
)
from clustersession.node.store_channel import StoreChannel
from clustersession.node.store_index import StoreIndex
from clustersession.node.store_overflow import Overflow
from clustersession.node.store_reader import StoreReader, present

BATCH_BYTES_MAX = 64 * 1024
PUSHED_BYTES_MAX = 256 * 1024
"""Of what is on its way: a request that misses its session waits behind it, and behind its answers.
"""


HELD_MAX = 20_000
GRANT_BITS = 20
"""So many grants begin with one start of the agent; another one never counts what they wrote."""


@dataclass(eq=False, slots=True)
class Push:
    """Is a batch on its way. cursor: where the store is when it has all of it. size: its bytes.

    is_held: it has. is_refused: it takes a part for written in the future.
    """

    cursor: Cursor
    size: int
    is_held: bool = False
    is_refused: bool = False


class StoreSender(Sender):
    """Sends the feed as calls, in the place of a stream to each peer."""

    def __init__(
        self,
        context: Context,
        confirmations: Confirmations,
        heartbeat: HeartbeatSender,
        channel: StoreChannel,
        index: StoreIndex,
        reader: StoreReader,
        overflow: Overflow,
    ) -> None:
        super().__init__(context, confirmations, heartbeat)
        self._channel = channel
        self._index = index
        self._reader = reader
        self._overflow = overflow
        # What is on its way, oldest first; bounded by the window of the progress.
        self._pushes: deque[Push] = deque()
        # What the store may have of our feed at most: the position of the cursor that it keeps.
        self._position = 0
        # The cursor that was kept last.
        self._kept = Cursor(0, 0)
        # Up to which place somebody has asked for the feed to be sent; behind it workers write.
        self._due = 0
        # The number under which workers may write to the store, another one for each time that it
        # may have lost what it had; and the places of our feed that it has got in that way, not yet
        # confirmed. At most HELD_MAX: what is forgotten is sent once more. carried: so many so far.
        self.grant = context.own.start << GRANT_BITS
        self._held: set[int] = set()
        self.carried = 0
        # The store has refused a part: nothing more is sent before the next beat.
        self._refused = False

    def carrier(self) -> str:
        """Return how deltas travel at present, for the status."""
        return "store"

    def lag(self) -> int:
        """Return how many entries of our feed the store may lack, as ``behind`` does for a peer."""
        peer = self._context.peers.get(STORE)
        if peer is not None:
            return self.behind(peer) + len(self._overflow)
        return max(0, self._context.replica.head() - self._kept.floor)

    def oldest_ms(self) -> int | None:
        """Return when the oldest entry was written that the store may lack; None: it lacks none."""
        peer = self._context.peers.get(STORE)
        confirmed = (self._kept if peer is None else peer.progress.confirmed).floor
        floor = self._overflow.floor(confirmed)
        deltas = self._context.replica.feed(floor, floor, 1).deltas
        return _written_ms(deltas[0].state) if deltas else None

    def is_held(self) -> bool:
        """Tell whether the store holds everything of ours, or is away."""
        peer = self._context.peers.get(STORE)
        head = self._context.replica.head()
        if not head or peer is None or peer.progress.lagging:
            return True
        # What there is no space for is not waited for.
        told = peer.progress.holds(head) or peer.progress.is_refused(head)
        return told and self._reader.checked

    def press(self, at: Moment) -> None:
        """Do nothing: the store answers whatever it is sent."""

    def forget(self) -> None:
        """Forget what was on its way when the connection broke."""
        self._pushes.clear()
        self._refused = False
        self.renew_grant()

    def renew_grant(self) -> None:
        """Count nothing more of what workers have written so far: the store may have lost it."""
        self.grant += 1
        self._held.clear()

    def note_held(self, grant: int, places: Sequence[int], at: Moment) -> bool:
        """Note places of our feed that a worker has written to the store; False: they do not count.

        Where the feed goes on behind them, nothing is sent: the next worker is about to tell of
        that too, or to ask; what a dead one cannot tell any more goes with the next beat.
        """
        peer = self._context.peers.get(STORE)
        if grant != self.grant or peer is None or len(self._held) + len(places) > HELD_MAX:
            return False
        floor = peer.progress.confirmed.floor
        fresh = {place for place in places if place > floor}
        self.carried += len(fresh - self._held)
        self._held |= fresh
        self._go_on(at)
        return True

    def resume(self, kept: Cursor | None, at: Moment) -> None:
        """Begin where the store says that its copy of our feed ends."""
        kept = kept or Cursor(0, 0)
        self._kept, self._position = kept, kept.position
        self.renew_grant()
        self._progress.resume(Cursor(kept.floor, kept.floor))
        self._progress.refuses = self._overflow.refuses
        self.flush(at)

    def cursor_calls(self) -> Sequence[StoreCall]:
        """Return the call that keeps the cursor, when the store keeps an older one."""
        progress = self._context.peers[STORE].progress
        floor = self._overflow.floor(progress.confirmed.floor)
        if progress.cursor is None or floor <= self._kept.floor:
            return ()
        return (self._keep(),)

    @property
    def _progress(self) -> PeerProgress:
        return self._context.peers[STORE].progress

    def flush(self, at: Moment) -> None:
        """Push what the store has not been sent yet."""
        self._due = self._context.replica.head()
        self._go_on(at)

    def _go_on(self, at: Moment) -> None:
        """Push what is due, and pass by what the store has got from workers."""
        context = self._context
        context.head = head = context.replica.head()
        peer = context.peers.get(STORE)
        if peer is None or self._refused:
            return
        progress = peer.progress
        while progress.may_send(head) and self._has_room():
            cursor = progress.cursor
            assert cursor is not None
            # Not from the cursor's floor: what is under way may be refused, and the store must not
            # take a later write to the same session without it.
            floor = progress.confirmed.floor
            batch = context.replica.feed(floor, cursor.position, BATCH_BYTES_MAX)
            missing = [delta for delta in batch.deltas if not self._has(delta)]
            if missing and all(self._place(delta) > self._due for delta in missing):
                batch, missing = self._before(batch, missing[0]), []
                if not batch.deltas:
                    break
            size = sum(copy_bytes_max(delta.state) for delta in batch.deltas)
            progress.sent(batch, size)
            self._push(batch, missing, Push(advance(cursor, batch), size), at)
            if progress.cursor == cursor:
                break

    def try_again(self, at: Moment) -> None:
        """Send again what was refused."""
        if self._refused:
            self._refused = False
            self._pushes.clear()
            self._progress.resume(self._progress.confirmed._replace(
                position=self._progress.confirmed.floor
            ))
        self.flush(at)

    def _has_room(self) -> bool:
        return sum(push.size for push in self._pushes) < PUSHED_BYTES_MAX

    def _keep(self) -> KeepCursor:
        floor = self._overflow.floor(self._progress.confirmed.floor)
        self._kept = Cursor(floor, max(floor, self._position))
        return KeepCursor(self._context.own.node, self._kept)

    def _before(self, batch: Batch, delta: Delta) -> Batch:
        """Return the part of a batch in front of a delta; it has them in the order of the feed."""
        upto = self._place(delta) - 1
        deltas = [each for each in batch.deltas if self._place(each) <= upto]
        return replace(batch, upto=upto, deltas=deltas)

    def _push(self, batch: Batch, missing: Sequence[Delta], push: Push, at: Moment) -> None:
        self._pushes.append(push)
        self._position = max(self._position, batch.upto)
        merges = [self._merge(delta) for delta in missing]
        replica = self._context.replica
        # With what workers have written there they have told the index.
        here = [(m.key, state) for m in missing if (state := replica.get(m.key)) is not None]
        entries = self._index.entries(here)
        if entries or merges:
            self._send(push, entries, merges, at)
        else:
            push.is_held = True
            self._settle()
        self._reader.follow([delta.key for delta in batch.deltas], at)

    def _has(self, delta: Delta) -> bool:
        """Tell whether a worker has written there what a delta carries, up to its last place.

        The store took that only after everything of ours before.
        """
        return self._place(delta) in self._held and delta.state.ended is None

    def _place(self, delta: Delta) -> int:
        return delta.state.versions.get(self._context.own.node, 0)

    def _merge(self, delta: Delta) -> Merge:
        if self._overflow.lacks(delta.key):
            held = self._context.replica.get(delta.key)
            if held is not None:
                return Merge(delta.key, shared(held), whole=True)
        return Merge(delta.key, delta.state, delta.full)

    def _send(
        self, push: Push, entries: Sequence[Enter], merges: Sequence[Merge], at: Moment
    ) -> None:
        # What goes there whole may be there already, from others, unknown here. What goes there in
        # part was read or pushed before; since then the store says what others do to it, because
        # who merges hears of the next change as who reads does.
        reads = [Read(merge.key) for merge in merges if merge.whole]
        held = self._progress.confirmed.floor

        def done(answers: Sequence[StoreAnswer], at: Moment) -> None:
            told = answers[1 + len(entries):]
            self._overflow.note(merges, told, held)
            self._answered(push, merges, told, at)

        self._channel.ask([self._keep(), *entries, *merges, *reads], done, at)

    def _answered(
        self, push: Push, merges: Sequence[Merge], answers: Sequence[StoreAnswer], at: Moment
    ) -> None:
        lacking = []
        for merge, answer in zip(merges, answers, strict=False):
            if answer is MergeAnswer.WHOLE_COPY_WANTED:
                lacking.append(merge.key)
            elif answer is MergeAnswer.FROM_THE_FUTURE:
                push.is_refused = True
        whole = [merge.key for merge in merges if merge.whole]
        read = [
            (key, state)
            for key, state in zip(whole, answers[len(merges):], strict=True) if key not in lacking
        ]
        self._reader.take(
            [key for key, _ in read], [state for _, state in read], at, repairs=False
        )
        self._reader.read_again([key for key, state in read if isinstance(state, Damaged)], at)
        replica = self._context.replica
        wholes = [(key, state) for key in lacking if (state := replica.get(key)) is not None]
        # What it lacks it may have lost, and the index with it. And what others had written beside
        # us may belong to somebody, or live longer, than we knew when we noted it.
        self._index.forget_of(lacking)
        entries = self._index.entries([*wholes, *present(read)])
        if wholes or entries:
            merges = [Merge(key, shared(state), whole=True) for key, state in wholes]
            self._send(push, entries, merges, at)
            return
        push.is_held = not push.is_refused
        self._confirm(push, at)

    def _confirm(self, push: Push, at: Moment) -> None:
        if push not in self._pushes:
            return
        if push.is_refused and not self._refused:
            # As with a peer: it is sent again until the clocks agree, and what follows it waits.
            self._refused = True
            self._context.tell(FutureRefused(STORE))
        self._settle()
        self._go_on(at)

    def _settle(self) -> None:
        """Count as confirmed what is held, as far as everything before it is."""
        progress = self._progress
        while self._pushes and self._pushes[0].is_held:
            progress.confirmed_to(self._pushes.popleft().cursor)
        floor = progress.confirmed.floor
        if self._held:
            self._held = {place for place in self._held if place > floor}
        self._confirmations.settle()


def _written_ms(state: SessionState) -> int:
    """Return when what a delta carries was written last."""
    stamps = [register.time for register in state.registers.values()]
    if state.ended is not None:
        stamps.append(state.ended.time)
    return max(state.accessed_ms, *map(wall_ms_of, stamps), state.created_ms)
