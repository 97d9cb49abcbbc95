"""Brings the sessions of a user here from the store, for who lists them, ends them or counts them.

The store's index says which they are. Those that are not here are read as a request would read
them, so that afterwards the replica has the user's sessions of the whole cluster. What the index
should not name any more is taken out of it on the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from clustersession.core.state import PRINCIPAL
from clustersession.node.context import Context
from clustersession.node.effects import FetchAnswered
from clustersession.node.moment import Moment
from clustersession.node.stays import Stays
from clustersession.node.store_calls import (
    STORE,
    Damaged,
    Forget,
    IndexEntry,
    ReadIndex,
    StoreAnswer,
)
from clustersession.node.store_channel import StoreChannel
from clustersession.node.store_reader import StoreReader

GATHERINGS_MAX = 1024


@dataclass(eq=False, slots=True)
class Gathering:
    """Is a question for a user's sessions.

    token: names the answer. tag: the user. deadline_s: when the answer is no.
    entries: what the index named, None before it has answered. waiting: sessions that are read.
    """

    token: int
    tag: bytes
    deadline_s: float
    entries: Sequence[IndexEntry] | None = None
    waiting: set[str] = field(default_factory=set)


class StoreUsers:
    """Answers by FetchAnswered, within ``fetch_timeout_s``: whether all are here now.

    Questions are not shared: each is about what was acknowledged before it was asked.
    """

    def __init__(
        self, context: Context, channel: StoreChannel, reader: StoreReader, stays: Stays
    ) -> None:
        self._context = context
        self._channel = channel
        self._reader = reader
        self._stays = stays
        # Those that are not answered, the oldest first; at most GATHERINGS_MAX.
        self._gatherings: list[Gathering] = []

    def gather(self, token: int, tag: bytes, at: Moment) -> None:
        """Bring the sessions of a user here."""
        if STORE not in self._context.peers or len(self._gatherings) >= GATHERINGS_MAX:
            self._context.emit(FetchAnswered(token, False))
            return
        gathering = Gathering(
            token, tag, at.now_s + self._context.settings.fetch_timeout_s
        )
        self._gatherings.append(gathering)
        self._context.retimed.add(self)
        self._channel.ask(
            [ReadIndex(tag)], lambda answers, at: self._named(gathering, answers, at), at
        )

    def settle(self, at: Moment) -> None:
        """Answer those of whom everything was read; to follow whatever is read."""
        for gathering in list(self._gatherings):
            waiting = gathering.waiting
            waiting -= {key for key in waiting if not self._reader.is_pending(key)}
            if gathering.entries is not None and not waiting:
                self._conclude(gathering, gathering.entries, at)

    def forget(self) -> None:
        """Answer everybody who waits: the connection broke."""
        self._give_up(float("inf"))

    def expire(self, at: Moment) -> None:
        """Give up what is past its deadline."""
        self._give_up(at.now_s)

    def next_deadline(self) -> float:
        """Return when ``expire`` has something to do."""
        return min((gathering.deadline_s for gathering in self._gatherings), default=float("inf"))

    def _named(
        self, gathering: Gathering, answers: Sequence[StoreAnswer], at: Moment
    ) -> None:
        if gathering not in self._gatherings:
            return
        named = answers[0]
        if isinstance(named, Damaged):
            self._gatherings.remove(gathering)
            self._context.retimed.add(self)
            self._context.emit(FetchAnswered(gathering.token, False))
            self._reader.note_again(gathering.tag, at)
            return
        assert isinstance(named, tuple)
        gathering.entries = named
        keys = dict.fromkeys(entry.key for entry in named)
        for key in keys:
            self._stays.list(key, at)
        replica = self._context.replica
        # What is here is followed, once all of it was compared.
        absent = [k for k in keys if not self._reader.checked or replica.get(k) is None]
        gathering.waiting.update(absent)
        self._reader.bring(absent, at)
        self.settle(at)

    def _conclude(self, gathering: Gathering, entries: Sequence[IndexEntry], at: Moment) -> None:
        self._gatherings.remove(gathering)
        self._context.retimed.add(self)
        over = [entry for entry in entries if self._is_over(entry)]
        if over:
            self._channel.ask([Forget(gathering.tag, over)], lambda answers, at: None, at)
        whole = not any(self._reader.is_unstored(entry.key) for entry in entries)
        self._context.emit(FetchAnswered(gathering.token, whole))

    def _is_over(self, entry: IndexEntry) -> bool:
        """Tell whether an entry will never again name a session of its user.

        Not for want of the session: who is about to tell the store of it has told the index first.
        """
        state = self._context.replica.get(entry.key)
        if state is None:
            return False
        register = state.registers.get(PRINCIPAL)
        return state.ended is not None or (
            register is not None and register[:3] > entry.stamp
        )

    def _give_up(self, now_s: float) -> None:
        for gathering in list(self._gatherings):
            if gathering.deadline_s <= now_s:
                self._gatherings.remove(gathering)
                self._context.retimed.add(self)
                self._context.emit(FetchAnswered(gathering.token, False))
