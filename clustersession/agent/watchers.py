"""Tells watching handlers, and workers whose application listens, which sessions change.

What comes from peers is told after its transaction, what the host's own workers commit when they
say that the feed has moved. A watcher is only told to look, so what it has not read yet stands for
all that follows.
"""

from collections.abc import Sequence
from typing import Protocol

from clustersession.core.errors import ReplicaError, SessionTooLarge
from clustersession.core.placement import owner
from clustersession.core.reclaiming import is_told_by
from clustersession.core.state import SessionState
from clustersession.core.transitions import EXPIRED, Transition, transitions
from clustersession.replica.replica import Replica
from clustersession.replica.results import Stored
from clustersession.wire.records import encode_state

WATCHES_MAX = 100_000
MOVED_MAX = 1_000
UNREAD_BYTES_MAX = 2**20
EVENT_BYTES_MAX = 2 * 2**20


class Listener(Protocol):
    """Is a connection of a worker, which hears what there is to tell."""

    @property
    def pid(self) -> int: ...

    @property
    def unread_bytes(self) -> int: ...

    def answer(self, token: int, value: object) -> None: ...

    def push_event(self, event: list[object]) -> None: ...


class Watchers:
    """Knows the watchers and listeners of one node, and tells them."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        # Who watches, as connection and token, by session; and the same the other way round. No set
        # is empty, and there are WATCHES_MAX watches at most.
        self._by_key: dict[str, set[tuple[Listener, int]]] = {}
        self._keys: dict[tuple[Listener, int], str] = {}
        # Workers whose application wants events; True: of what happened on other nodes, too.
        self._listening: dict[Listener, bool] = {}
        # How far our own feed has been looked through; of no meaning while nobody watches.
        self._head = 0
        # How many events no worker could take.
        self.unheard = 0

    @property
    def listened_to(self) -> bool:
        """Tell whether an application wants events."""
        return bool(self._listening)

    def is_watched(self, key: str) -> bool:
        """Tell whether somebody watches a session."""
        return key in self._by_key

    def watch(self, connection: Listener, token: int, key: str) -> bool:
        """Tell a connection of a session from now on; False: there are too many already."""
        if len(self._keys) >= WATCHES_MAX or not token:
            return False
        if not self._keys:
            self._head = self._replica.head()
        self._keys[connection, token] = key
        self._by_key.setdefault(key, set()).add((connection, token))
        self._observe()
        return True

    def unwatch(self, connection: Listener, token: int) -> None:
        """Tell a connection of a session no more."""
        key = self._keys.pop((connection, token), None)
        if key is not None:
            self._by_key[key].discard((connection, token))
            if not self._by_key[key]:
                del self._by_key[key]
            self._observe()

    def listen(self, workers: Sequence[Listener], pid: int, everywhere: bool) -> None:
        """Pass events to the application in a worker from now on."""
        for worker in workers:
            if worker.pid == pid:
                self._listening[worker] = everywhere or self._listening.get(worker, False)
        self._observe()

    def forget(self, connection: Listener) -> None:
        """Forget a connection that is gone."""
        self._listening.pop(connection, None)
        for one, token in [watched for watched in self._keys if watched[0] is connection]:
            self.unwatch(one, token)
        self._observe()

    def feed_moved(self) -> None:
        """Tell what workers of this host have committed."""
        if not self._keys:
            return
        try:
            head = self._replica.head()
            moved = self._replica.moved(self._head, MOVED_MAX)
        except ReplicaError:
            return
        # A feed that has begun anew, or moved far, is not looked through.
        known = self._head <= head and len(moved) < MOVED_MAX
        self._head = head
        self._tell(moved if known else list(self._by_key))

    def expired(self, removed: Sequence[tuple[str, SessionState]], serving: frozenset[str],
                route: str) -> None:
        """Tell of swept sessions, if this node is the one to tell of them."""
        for key, state in removed:
            if key in self._by_key:
                self._tell([key])
            if owner(key, serving | {route}) == route or any(self._listening.values()):
                self._push(Transition(EXPIRED, key, state=state), everywhere=False)

    def reclaimed(
        self, stored: Sequence[Stored], serving: frozenset[str], route: str, *, spread: bool
    ) -> None:
        """Tell of attributes that expired, if this node is the one to tell of them."""
        self._tell([key for key, _, _ in stored if key in self._by_key])
        everywhere = any(self._listening.values())
        told = [s for s in stored if everywhere or is_told_by(route, s, serving, spread=spread)]
        for happened in transitions(told):
            self._push(happened, everywhere=False)

    def _observe(self) -> None:
        wanted = bool(self._keys) or any(self._listening.values())
        self._replica.observe(self._changed if wanted else None)

    def _changed(self, stored: Sequence[Stored]) -> None:
        self._tell([key for key, _, _ in stored if key in self._by_key])
        if any(self._listening.values()):
            for happened in transitions(stored):
                self._push(happened, everywhere=True)

    def _tell(self, keys: Sequence[str]) -> None:
        for key in keys:
            for connection, token in self._by_key.get(key, ()):
                # A worker that does not read has been told already, and looks now and then in any
                # case.
                if connection.unread_bytes < UNREAD_BYTES_MAX:
                    connection.answer(token, True)

    def _push(self, happened: Transition, *, everywhere: bool) -> None:
        kind, key, names, reason, state = happened
        listener = next((w for w, all_too in self._listening.items() if all_too or not everywhere),
                        None)
        if listener is None:
            return
        try:
            data = None if state is None else encode_state(state)
        except SessionTooLarge:
            data = None
        if data is not None and len(data) > EVENT_BYTES_MAX:
            data = None
        if listener.unread_bytes >= UNREAD_BYTES_MAX:
            self.unheard += 1
            return
        listener.push_event([kind, key, data, list(names), reason])
