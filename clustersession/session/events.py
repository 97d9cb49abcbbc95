"""Tells the application what happened to sessions, if it asked to be told.

A callback runs in the process where the event was caused, after the commit and after peers have
confirmed as ``ack`` asks, before the response goes out. What a callback raises is logged and harms
nobody else. Nothing is done, and no copy is read, for kinds that nobody asked for.
"""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from clustersession.core.clock import wall_ms_of
from clustersession.core.counters import Counters
from clustersession.core.errors import WireError
from clustersession.core.ids import log_name
from clustersession.core.reclaiming import without_expired
from clustersession.core.state import (
    Change,
    SessionState,
    highest_time,
    principal_of,
    shared,
)
from clustersession.core.transitions import (
    CHANGED,
    CREATED,
    ENDED,
    EXPIRED,
    PRINCIPAL_ENDED,
    Transition,
    count_lives,
    transitions,
)
from clustersession.net.async_library import in_trio, run_beside, run_to_end
from clustersession.replica.results import Committed, Stored
from clustersession.session.changes import visible_values
from clustersession.session.merging import decode_attribute

KINDS = (CREATED, CHANGED, ENDED, EXPIRED, PRINCIPAL_ENDED)
PENDING_MAX = 10_000

_log = logging.getLogger("clustersession")


@dataclass(frozen=True, slots=True)
class Event:
    """Is one thing that happened to a session.

    kind: created, changed, ended, expired or principal_ended. session: its name in logs; empty for
    principal_ended. names: the attributes that changed. reason: of an end, "invalidated",
    "replaced" (the same request began another), "rotated" (it goes on under a new id), "revoked" or
    "limit". here: this node caused it.
    """

    kind: str
    session: str = ""
    principal: str | None = None
    names: tuple[str, ...] = ()
    reason: str | None = None
    here: bool = True
    state: SessionState | None = None

    @property
    def data(self) -> dict[str, Any]:
        """Return the attributes as they are now; of a session that is over, as they were last.

        A copy: what is changed in it goes nowhere. What cannot be read is left out.
        """
        return {} if self.state is None else decoded(self.state)


Callback = Callable[[Event], Awaitable[None] | None]
_C = TypeVar("_C", bound=Callback)


class Events:
    """Holds the callbacks of one application, and what they are still to be told.

    Attributes:
        pending: events of commits that peers have not confirmed yet, oldest first; of more than
            PENDING_MAX the oldest are dropped. ``deliver`` empties it.
        by_trio: whether coroutines run by trio where no event loop runs; the runtime knows what the
            application is served by.
        on_listen: is called after each ``on``, so that the agent is asked for what is wanted now;
            None until a runtime with an agent sets it.
        counters: where lives are counted; the manager's, once there is one.
        _callbacks: who is to be told, by kind; only ever added to.
        _tasks: callbacks that run in an event loop; kept so that none is collected half-way.
    """

    def __init__(self) -> None:
        self._callbacks: dict[str, list[Callback]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.pending: deque[Event] = deque(maxlen=PENDING_MAX)
        self.by_trio = False
        self.counters = Counters()
        self.on_listen: Callable[[], None] | None = None

    def on(self, kind: str, callback: _C | None = None) -> Any:
        """Have ``callback(event)`` called, a function or a coroutine function; or a decorator.

        Raises ValueError for a kind that does not exist.
        """
        if kind not in KINDS:
            raise ValueError(f"there is no event {kind!r}; there are {', '.join(KINDS)}")
        if callback is None:
            return lambda function: self.on(kind, function)
        self._callbacks.setdefault(kind, []).append(callback)
        if self.on_listen is not None:
            self.on_listen()
        return callback

    def include(self, others: "Events") -> None:
        """Call the callbacks of others as well."""
        for kind, callbacks in list(others._callbacks.items()):
            for callback in callbacks:
                if callback not in self._callbacks.get(kind, ()):
                    self.on(kind, callback)

    def wants(self, kind: str) -> bool:
        """Tell whether anybody asked for events of this kind."""
        return kind in self._callbacks

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def add(self, event: Event) -> None:
        """Note an event that is to be delivered once the commit is confirmed."""
        if event.kind in self._callbacks:
            self.pending.append(event)

    def deliver(self) -> None:
        """Call everybody. Coroutines run in the running event loop, or to their end in one.

        A task of trio's has them run beside it.
        """
        for callback, event in self._due():
            try:
                result = callback(event)
                if inspect.isawaitable(result):
                    self._run(partial(_finish, result, event))
            except Exception:
                _failed(event)

    async def deliver_async(self) -> None:
        """Call everybody, and wait for coroutines, one after the other."""
        for callback, event in self._due():
            try:
                result = callback(event)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                _failed(event)

    def _due(self) -> list[tuple[Callback, Event]]:
        due: list[tuple[Callback, Event]] = []
        while True:
            try:
                event = self.pending.popleft()
            except IndexError:
                return due
            due += [(callback, event) for callback in self._callbacks.get(event.kind, ())]

    def _run(self, finish: Callable[[], Any]) -> None:
        if in_trio():
            run_beside(finish)
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            run_to_end(finish, by_trio=self.by_trio)
            return
        task = loop.create_task(finish())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _finish(result: Awaitable[None], event: Event) -> None:
    try:
        await result
    except Exception:
        _failed(event)


def _failed(event: Event) -> None:
    _log.exception("a callback for %s of session %s failed", event.kind, event.session or "-")


class Writer(Protocol):
    """Commits changes to a replica."""

    def commit(self, changes: Sequence[Change], wall_ms: int) -> Committed:
        """Do what the replica's ``commit`` does."""
        ...


def commit_with_events(
    writer: Writer, events: Events, changes: Sequence[Change], now_ms: int
) -> Committed:
    """Commit, and note what it means to those who asked. Raises what the commit raises."""
    committed = writer.commit(changes, now_ms)
    note_events(events, committed.stored)
    return committed


def note_events(events: Events, stored: Sequence[Stored]) -> None:
    """Count whose life began and ended by a transaction; note what it means to those who asked."""
    count_lives(events.counters, stored)
    if events._callbacks:
        for happened in transitions(stored):
            events.add(event_of(happened))


def event_of(happened: Transition, *, here: bool = True) -> Event:
    """Return the event that tells of a transition."""
    kind, key, names, reason, state = happened
    principal = None if state is None else principal_of(state)
    return Event(kind, log_name(key), principal, names, reason, here, state)


def decoded(state: SessionState) -> dict[str, Any]:
    """Return the attributes of a copy that can be read, but for what had expired by its last write.
    """
    state = without_expired(shared(state), wall_ms_of(highest_time(state)))
    return {
        name: value
        for name, data in visible_values(state.registers).items()
        for value in _decoded(data)
    }


def _decoded(data: bytes) -> tuple[Any, ...]:
    try:
        return (decode_attribute(data),)
    except WireError:
        return ()


__all__ = [
    "KINDS", "Callback", "Event", "Events", "commit_with_events", "decoded", "event_of",
    "note_events",
]
