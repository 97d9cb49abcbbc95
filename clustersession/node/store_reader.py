"""Reads sessions from the store: those that requests miss, and those here that have changed there.

Whatever is read is joined with what is here. When the store turns out to lack a part of that, it is
told: it may have forgotten, or gone back to an earlier state. So to read everything that is here
once (``check_all``) repairs both sides, and is done whenever the store may have changed unheard.

A session that belongs to a user is joined only together with the record of the user's revocation,
which is read from then on whenever it changes, also while there is none. And the store's index of
users is told of it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from clustersession.core.errors import ReplicaFull
from clustersession.core.revocation import revocation_key, tag_of_revocation
from clustersession.core.state import SessionState, expires_ms, merge, new_state, shared
from clustersession.node.claims import Claims
from clustersession.node.context import Context, copy_bytes_max
from clustersession.node.locator import Locator
from clustersession.node.lookup import SessionLookup
from clustersession.node.moment import Moment
from clustersession.node.news import StoreDamaged
from clustersession.node.read_queue import ReadQueue
from clustersession.node.store_calls import (
    STORE,
    Damaged,
    Enter,
    Merge,
    Read,
    StoreAnswer,
)
from clustersession.node.store_channel import StoreChannel
from clustersession.node.store_index import StoreIndex
from clustersession.node.store_overflow import Overflow
from clustersession.replica.principals import tag_of
from clustersession.wire.messages import Fetched

KEYS_AT_ONCE = 64
BYTES_AT_ONCE = 64 * 1024
"""Of a group, by what is held of its sessions: what requests miss comes behind it on a slow line.
"""
GROUPS_MAX = 4
"""How many groups of keys are read at a time; what requests miss does not wait for them."""
RECORDS_MAX = 10_000
WANTED_MAX = 10_000


class StoreReader:
    """Keeps what is here as new as the store, and the store as new as what is here."""

    def __init__(
        self,
        context: Context,
        channel: StoreChannel,
        index: StoreIndex,
        lookup: SessionLookup,
        locator: Locator,
        claims: Claims,
        overflow: Overflow,
        lose_past: Callable[[], None],
    ) -> None:
        self._context, self._channel, self._claims = context, channel, claims
        self._index, self._overflow, self._lose_past = index, overflow, lose_past
        self._lookup, self._locator = lookup, locator
        # At most WANTED_MAX are wanted, or everything is compared.
        self._queue = ReadQueue()
        # Records of revocations that we hear of when they change; at most RECORDS_MAX.
        self._records: set[str] = set()
        # By the key of a record that is being read, the sessions that wait for it.
        self._deferred: dict[str, dict[str, SessionState]] = {}
        # What there was no space for; tried again with each beat.
        self._unstored: dict[str, None] = {}
        # Hears that something was read.
        self.taken: Callable[[Moment], None] = lambda at: None
        # Whether everything here was compared with the store since the connection began.
        self.checked = False
        # How often a copy that was here was brought up to date.
        self.refreshed = 0
        # How far the store's clock is ahead of ours.
        self.skew_ms = 0

    def forget(self) -> None:
        """Forget what the connection that broke owed us."""
        self._queue = ReadQueue()
        self._deferred.clear()
        self._records.clear()
        self._unstored.clear()
        self._index.forget()
        self.checked = False

    def check_all(self, at: Moment) -> None:
        """Compare everything that is here with the store, some at a time."""
        self._queue.check_all()
        self.checked = False
        self._index.forget()
        self._read(at)

    def miss(self, key: str, at: Moment) -> None:
        """Read what a request waits for, before anything else."""
        if self._queue.miss(key):
            self._ask([key], at)

    def bring(self, keys: Sequence[str], at: Moment) -> None:
        """Read what a list of a user's sessions needs; ``is_pending`` until it is here."""
        # What is under way may have been asked for before it was there.
        unasked = [key for key in keys if not self._queue.want_again_if_asked(key)]
        for first in range(0, len(unasked), KEYS_AT_ONCE):
            self._ask(unasked[first : first + KEYS_AT_ONCE], at)

    def is_pending(self, key: str) -> bool:
        """Tell whether a session is being read, or waits for the record of a revocation."""
        if self._queue.is_asked(key) or self._queue.is_wanted(key):
            return True
        return any(key in waiting for waiting in self._deferred.values())

    def is_unstored(self, key: str) -> bool:
        """Tell whether there was no space for a session."""
        return key in self._unstored

    def changed(self, keys: Sequence[str] | None, at: Moment) -> None:
        """Read again what has changed in the store, as far as it is here; None: everything."""
        if keys is None:
            self._records.clear()
            # Answers that are under way may be from before, and nobody tells us of the next change.
            self._queue.want_again_what_was_asked()
            self.check_all(at)
            return
        deferred = {key for waiting in self._deferred.values() for key in waiting}
        for key in keys:
            if self._queue.want_again_if_asked(key):
                continue
            if tag_of_revocation(key) is not None:
                self._records.discard(key)
                self._queue.want(key)
            elif key in deferred or self._context.replica.get(key) is not None:
                self._queue.want(key)
            if len(self._queue) > WANTED_MAX:
                self._want_everything()
        self._read(at)

    def _want_everything(self) -> None:
        self._records.clear()
        # For these, sessions wait.
        self._queue.want_only(self._deferred)
        self.checked = False
        self._queue.check_once_more()

    def read_again(self, keys: Sequence[str], at: Moment) -> None:
        """Read some sessions once more, and repair them."""
        self._queue.want_in_turn(self._queue.unasked(keys))
        self._read(at)

    def note_again(self, tag: bytes, at: Moment) -> None:
        """Tell the index of a user anew, which was damaged, as far as his sessions are here."""
        self._repair({}, self._index.entries(self._newest(
            [(key, None) for key in self._index.forget_user(tag)]
        )), at)

    def follow(self, keys: Sequence[str], at: Moment) -> None:
        """Hear of revocations of the users of some sessions, which have just been pushed."""
        for key in keys:
            self._follow_user(self._context.replica.get(key))
        self._read(at)

    def try_again(self, at: Moment) -> None:
        """Read again what there was no space for here, and tell what there was none for there."""
        self._queue.want_in_turn(self._unstored)
        self._unstored.clear()
        self._tell_again(at)
        self._read(at)

    def _tell_again(self, at: Moment) -> None:
        if self._overflow.is_to_be_compared():
            self.check_all(at)
        elif keys := self._overflow.due():
            self._repair(dict.fromkeys(keys, ()), [], at)

    # ---- asking ----------------------------------------------------------------------------------

    def _read(self, at: Moment) -> None:
        queue = self._queue
        while queue.groups < GROUPS_MAX and self._channel.is_up:
            if queue:
                self._ask(list(self._group()), at)
            elif queue.is_checking:
                queue.check(self._context.replica.keys(queue.checked_up_to, KEYS_AT_ONCE))
            else:
                break
        if not queue.is_checking and not queue.groups and not queue and not self._deferred:
            self.checked = True

    def _group(self) -> Iterator[str]:
        """Return what is read next: as much as a slow line carries while a request waits."""
        size = 0
        for count, key in enumerate(self._queue.in_order()):
            held = self._context.replica.get(key)
            size += 0 if held is None else copy_bytes_max(held)
            if count and (count >= KEYS_AT_ONCE or size > BYTES_AT_ONCE):
                return
            yield key

    def _ask(self, keys: Sequence[str], at: Moment) -> None:
        self._queue.ask(keys)
        self._channel.ask(
            [Read(key) for key in keys], lambda answers, at: self._answered(keys, answers, at), at
        )

    def _answered(self, keys: Sequence[str], answers: Sequence[StoreAnswer], at: Moment) -> None:
        if missed := self._queue.answer(keys):
            self._ask(missed, at)
        self.take(keys, answers, at)

    # ---- what was read ---------------------------------------------------------------------------

    def take(
        self, keys: Sequence[str], answers: Sequence[StoreAnswer], at: Moment, *,
        repairs: bool = True,
    ) -> None:
        """Join copies of the store with what is here; ``repairs``: and the other way round."""
        whole: list[tuple[str, SessionState | None]] = []
        if not self._claims.remembers_all([a for a in answers if isinstance(a, SessionState)]):
            self._lose_past()
            return
        for key, answer in zip(keys, answers, strict=True):
            state = answer if isinstance(answer, SessionState) else None
            if tag_of_revocation(key) is not None:
                self._note_record(key)
                whole.append((key, state))
                # The record is before them, so that they are judged by it.
                whole += self._deferred.pop(key, {}).items()
                continue
            self._follow_user(self._context.replica.get(key))
            record = self._follow_user(state)
            if state is None or record is None:
                whole.append((key, state))
            else:
                self._deferred.setdefault(record, {})[key] = state
        damaged = {k: a for k, a in zip(keys, answers, strict=True) if isinstance(a, Damaged)}
        for key, found in damaged.items():
            self._context.tell(StoreDamaged(key, found.is_foreign))
        joined = self._join(whole, at)
        if repairs:
            self._index.forget_of(key for key, state in joined if state is None)
            self._repair({
                key: damaged[key].parts if key in damaged else ()
                for key, state in joined if self._store_lacks(key, state, at)
            }, self._index.entries(self._newest(joined), heard_by=self._context.own.node), at)
        self._read(at)
        self.taken(at)

    def _note_record(self, key: str) -> None:
        if len(self._records) >= RECORDS_MAX:
            # Each is read again with the next session of its user.
            self._records.clear()
        # One that has changed since is on its way once more.
        if not self._queue.is_wanted(key):
            self._records.add(key)

    def _follow_user(self, state: SessionState | None) -> str | None:
        """Have the record of a user's revocation read; return its key unless it has been."""
        tag = None if state is None else tag_of(state)
        if tag is None:
            return None
        key = revocation_key(tag)
        if key in self._records:
            return None
        if not self._queue.is_asked(key):
            self._queue.want(key)
        return key

    def _join(
        self, copies: Sequence[tuple[str, SessionState | None]], at: Moment
    ) -> Sequence[tuple[str, SessionState | None]]:
        """Join copies with what is here; return them but for those that there is no space for."""
        context = self._context
        held = {key: context.replica.get(key) for key, state in copies if state is not None}
        news = [(k, s) for k, s in copies if s is not None and held[k] != s]
        try:
            if news:
                context.replica.merge(news, at.wall_ms)
                self.refreshed += sum(held[key] is not None for key, _ in news)
        except ReplicaFull:
            self._unstored.update((key, None) for key, _ in news)
            copies = [(key, state) for key, state in copies if state is None]
        for key, state in copies:
            if self._queue.is_asked(key):
                # There is an answer to come that was asked for later.
                continue
            if self._lookup.is_looking(key) or self._locator.is_asking(key):
                self._locator.on_fetched(STORE, Fetched(key, state), at)
        return copies

    def _newest(
        self, copies: Sequence[tuple[str, SessionState | None]]
    ) -> Iterator[tuple[str, SessionState]]:
        for key, state in copies:
            held = self._context.replica.get(key) or state
            if held is not None:
                yield key, held

    def _store_lacks(self, key: str, state: SessionState | None, at: Moment) -> bool:
        held = self._context.replica.get(key)
        if held is None:
            return False
        # What has expired there is gone at once whenever it is told.
        store_ms = at.wall_ms + self.skew_ms
        kept_ms = self._context.settings.stamp_lead_ms_max if held.ended is not None else 0
        if expires_ms(held) + kept_ms <= store_ms:
            return False
        if state is None:
            return True
        told = shared(held)
        return merge(told, state) != state and merge(self._due(told, state), state) != state

    def _due(self, held: SessionState, state: SessionState) -> SessionState:
        """Return what the store is to have of a copy by now.

        Of our own writes, those that it has confirmed. The others are on their way with the feed,
        or a worker is about to write them itself.
        """
        peer, own = self._context.peers.get(STORE), self._context.own.node
        if peer is None or held.ended is not None:
            return held
        floor = peer.progress.confirmed.floor
        if held.versions.get(own, 0) <= floor:
            return held
        registers = {
            name: register for name, register in held.registers.items()
            if register.node != own or register.seq <= floor
        }
        versions = {**held.versions, own: state.versions.get(own, 0)}
        return new_state(
            held.created_ms, min(held.accessed_ms, state.accessed_ms), held.deadline_ms,
            registers, versions, None,
        )

    def _repair(
        self, damaged: Mapping[str, Sequence[bytes]], entries: Sequence[Enter], at: Moment
    ) -> None:
        """Tell the store what it lacks; ``damaged``: by key, what it is to drop first."""
        lacking = [(key, state) for key in damaged if (state := self._context.replica.get(key))]
        entries = [*entries, *self._index.entries(lacking)]
        merges = [
            Merge(key, shared(state), whole=True, damaged=damaged[key]) for key, state in lacking
        ]
        if not merges and not entries:
            return
        self._queue.groups += 1
        peer = self._context.peers.get(STORE)
        held = 0 if peer is None else peer.progress.confirmed.floor

        def done(answers: Sequence[StoreAnswer], at: Moment) -> None:
            self._queue.groups -= 1
            was_full = self._overflow.is_full
            is_full = self._overflow.note(merges, answers[len(entries):], held)
            read = answers[len(entries) + len(merges):]
            keys = [told.key for told in merges]
            self.take(keys, read, at, repairs=False)
            self._repair({}, self._index.entries(present(zip(keys, read, strict=True))), at)
            if was_full and not is_full:
                # There is space again: not only with each beat.
                self._tell_again(at)

        self._channel.ask([*entries, *merges, *(Read(told.key) for told in merges)], done, at)


def present(
    read: Iterable[tuple[str, StoreAnswer]]
) -> Iterator[tuple[str, SessionState]]:
    """Leave the sessions that are there."""
    for key, state in read:
        if isinstance(state, SessionState):
            yield key, state
