"""Keeps a node and a store in step while hosts move between peers and the store.

The node has no store itself, or is stopped. What the store has comes into the replica, and what the
replica has goes into the store: first all of it, then each change, as hosts that have a store hear
of it. Both join copies as nodes do, so it does no harm to begin again, or to have one on each host.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from clustersession.core.errors import ClusterSessionError, ReplicaFull, StoreError
from clustersession.core.feed import Cursor, advance
from clustersession.core.revocation import RESERVED_PREFIX, revocation_key
from clustersession.core.state import SessionState, expires_ms, merge, shared
from clustersession.net.store.asking import StoreAsker
from clustersession.net.store.listing import session_keys
from clustersession.net.store.open_store import StorePlan
from clustersession.node.store_calls import Damaged, Merge, MergeAnswer, Read
from clustersession.node.store_index import StoreIndex
from clustersession.replica.principals import tag_of
from clustersession.replica.replica import Replica
from clustersession.tools.bridge.room import Room

KEYS_AT_ONCE: Final = 64
HELD_AT_ONCE: Final = 512
BATCH_BYTES_MAX: Final = 256 * 1024
LOOK_INTERVAL_S: Final = 0.02
"""How long a change of ours waits at most before it is told."""
RETRY_S: Final = 1.0
PROGRESS: Final = 1000
RECORDS_MAX: Final = 50_000

Copy = tuple[str, SessionState | Damaged | None]


class LostPast(ClusterSessionError):
    """The store has writes of this node that the node's replica has lost."""


@dataclass(slots=True)
class Tally:
    """Counts what a bridge has done. read: sessions of the store; taken, told: those that were news
    to the replica, and to the store.
    """

    read: int = 0
    taken: int = 0
    told: int = 0


class Bridge:
    """Joins one replica with one store.

    tell: hears a line for people, now and then. tally: counts since the start. _after: up to where
    the store has our feed; meaningful for the node id ``_node``.
    """

    def __init__(
        self, opened: Replica, plan: StorePlan, room: Room, wall_ms: Callable[[], int],
        tell: Callable[[str], object],
    ) -> None:
        self._replica = opened
        self._plan = replace(plan, hears_all=True, replicas=0)
        self._room = room
        self._wall_ms = wall_ms
        self._tell = tell
        self.tally = Tally()
        self._after = Cursor(0, 0)
        self._node = b""
        # The users whose records were read since the connection began; at most RECORDS_MAX.
        self._read_records: set[bytes] = set()
        self._index = StoreIndex()
        # What the store had no space for, in the order in which it is tried again.
        self._refused: dict[str, None] = {}
        # People were told of something damaged.
        self._told_damaged = False

    async def join_once(self) -> None:
        """Compare all that both have. Raises StoreError, StoreTooLarge, LostPast."""
        asker = StoreAsker(self._plan)
        try:
            await self._join_all(asker)
            if self._refused:
                raise StoreError(self._lacks_space())
        finally:
            await asker.store.close()

    async def follow(self) -> None:
        """Do it, and then pass on each change, until cancelled.

        Raises what ``join_once`` does; once all was joined, a store that is away is waited for.
        """
        was_in_step, told = False, ""
        while True:
            asker = StoreAsker(self._plan)
            try:
                await self._join_all(asker)
                was_in_step, told = True, ""
                if self._refused:
                    self._tell(self._lacks_space())
                await self._pass_on(asker)
            except (StoreError, ReplicaFull) as error:
                if not was_in_step:
                    raise
                if str(error) != told:
                    told = str(error)
                    self._tell(f"not in step: {told}; it is tried again")
            finally:
                await asker.store.close()
            await asyncio.sleep(RETRY_S)

    # ---- all of it -------------------------------------------------------------------------------

    async def _join_all(self, asker: StoreAsker) -> None:
        await asker.store.open(())
        self._read_records.clear()
        self._index.forget()
        self._refused.clear()
        # What is written from now on comes with the feed.
        self._begin_feed()
        total = await self._room.check(asker, self._plan.calls.keys)
        count = 0
        async for keys in session_keys(asker.store, self._plan.calls.keys):
            await self._take(asker, keys)
            before, count = count, count + len(keys)
            if count // PROGRESS > before // PROGRESS:
                self._tell(f"{count} of {total} read")
        held = ""
        while here := self._replica.keys(held, HELD_AT_ONCE):
            held = here[-1]
            await self._take(asker, here, counts=False)
        tally = self.tally
        self._tell(
            f"in step with the store: {tally.read} sessions read, {tally.taken} of them news here, "
            f"{tally.told} told to the store"
        )

    def _begin_feed(self) -> None:
        self._node, head = self._replica.node, self._replica.head()
        self._after = Cursor(head, head)

    async def _take(self, asker: StoreAsker, keys: Iterable[str], *, counts: bool = True) -> None:
        """Join some sessions, both ways; revocations first, so that theirs are judged by them."""
        ordered = sorted(keys, key=lambda key: not key.startswith(RESERVED_PREFIX))
        for some in _parts(ordered):
            copies = await _read(asker, some)
            for records in _parts(self._records_of(copies)):
                await self._join(asker, await _read(asker, records), counts=counts)
            await self._join(asker, copies, counts=counts)

    def _records_of(self, copies: Sequence[Copy]) -> list[str]:
        """Return the records of revocations that decide about some sessions, and were not read.

        No list of the store has them: their names there lead to no user.
        """
        users = set()
        for key, state in copies:
            for copy in (state, self._replica.get(key)):
                if isinstance(copy, SessionState) and (tag := tag_of(copy)) is not None:
                    users.add(tag)
        if len(self._read_records) + len(users) > RECORDS_MAX:
            self._read_records.clear()
        fresh = users - self._read_records
        self._read_records |= fresh
        return [revocation_key(tag) for tag in fresh]

    async def _join(self, asker: StoreAsker, copies: Sequence[Copy], *, counts: bool) -> None:
        theirs = [(key, state) for key, state in copies if isinstance(state, SessionState)]
        self.tally.read += len(theirs) * counts
        self._refuse_lost_past(theirs)
        news = [(key, s) for key, s in theirs if self._replica.get(key) != s]
        try:
            self.tally.taken += self._replica.merge(news, self._wall_ms())
        except ReplicaFull:
            raise self._room.full() from None
        await self._tell_lacking(asker, copies)

    def _refuse_lost_past(self, copies: Sequence[tuple[str, SessionState]]) -> None:
        own, head = self._replica.node, self._replica.head()
        if any(state.versions.get(own, 0) > head for _, state in copies):
            raise LostPast(
                "the store has writes of this node that its replica has lost, as after a return to "
                "a snapshot: start the node with the store once, then stop it and do this again"
            )

    async def _tell_lacking(self, asker: StoreAsker, copies: Sequence[Copy]) -> None:
        now_ms, lacking = self._wall_ms(), dict[str, Sequence[bytes]]()
        for key, copy in copies:
            held = self._replica.get(key)
            state = copy if isinstance(copy, SessionState) else None
            parts = copy.parts if isinstance(copy, Damaged) else ()
            if isinstance(copy, Damaged) and not self._told_damaged:
                self._told_damaged = True
                self._tell("the store has damaged sessions; those that this node holds are mended")
            if held is None:
                continue
            kept_ms = self._plan.calls.skew_ms if held.ended is not None else 0
            is_over = expires_ms(held) + kept_ms <= now_ms
            if not is_over and (state is None or merge(shared(held), state) != state):
                lacking[key] = parts
        await self._tell_whole(asker, lacking)

    async def _tell_whole(self, asker: StoreAsker, damaged: Mapping[str, Sequence[bytes]]) -> None:
        """Tell the store some sessions; ``damaged``: by key, what it is to drop first."""
        held = [(key, state) for key in damaged if (state := self._replica.get(key)) is not None]
        if not held:
            return
        entries = self._index.entries(held)
        merges = [
            Merge(key, shared(state), whole=True, damaged=damaged[key]) for key, state in held
        ]
        answers = (await asker.ask(*entries, *merges))[len(entries):]
        self.tally.told += answers.count(MergeAnswer.DONE)
        self._note_refused([key for key, _ in held], answers)
        if MergeAnswer.FROM_THE_FUTURE in answers:
            raise StoreError(
                "the store takes what this node has written for later than its clock may differ: "
                "set the clocks by NTP"
            )
        if MergeAnswer.TOO_LARGE in answers:
            self._tell("a session has more attributes than the store takes, and stays here")

    def _note_refused(self, keys: Sequence[str], answers: Sequence[Any]) -> None:
        for key, answer in zip(keys, answers, strict=True):
            self._refused.pop(key, None)
            if answer is MergeAnswer.FULL:
                self._refused[key] = None

    def _lacks_space(self) -> str:
        return (
            f"the store is full: {len(self._refused)} sessions of this node are not there; raise "
            "its maxmemory"
        )

    # ---- changes ---------------------------------------------------------------------------------

    async def _pass_on(self, asker: StoreAsker) -> None:
        """Pass on what changes, until the store is lost. Raises StoreError."""
        clock = asyncio.get_running_loop().time
        retried_s, was_full = clock(), bool(self._refused)
        while True:
            if asker.lost is not None:
                raise asker.lost
            if asker.any_changed:
                return
            changed, asker.changed = asker.changed, set()
            asker.heard.clear()
            await self._take(asker, changed, counts=False)
            await self._tell_feed(asker)
            if self._refused and clock() - retried_s >= RETRY_S:
                await self._tell_whole(asker, dict.fromkeys([*self._refused][:KEYS_AT_ONCE], ()))
                retried_s = clock()
            if was_full is not bool(self._refused):
                was_full = not was_full
                self._tell(
                    self._lacks_space() if was_full
                    else "the store has taken what it had no space for"
                )
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_INTERVAL_S):
                    await asker.heard.wait()

    async def _tell_feed(self, asker: StoreAsker) -> None:
        if self._replica.node != self._node:
            # Its feed has begun anew; what it had written is found by comparing.
            raise StoreError("the node has taken another id")
        while self._replica.head() > self._after.position:
            batch = self._replica.feed(self._after.floor, self._after.position, BATCH_BYTES_MAX)
            # Whole, because the store may lack what a part builds on, and there are few.
            for some in _parts([delta.key for delta in batch.deltas]):
                await self._tell_whole(asker, dict.fromkeys(some, ()))
            self._after = advance(self._after, batch)


async def _read(asker: StoreAsker, keys: Sequence[str]) -> list[Copy]:
    answers = await asker.ask(*map(Read, keys))
    return [
        (key, answer if isinstance(answer, SessionState | Damaged) else None)
        for key, answer in zip(keys, answers, strict=True)
    ]


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(keys), KEYS_AT_ONCE):
        yield keys[first : first + KEYS_AT_ONCE]


async def until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Do some work until it is done, or somebody ends it with SIGTERM or SIGINT."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
