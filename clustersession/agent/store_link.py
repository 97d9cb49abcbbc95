"""Connects the node with its store: passes on what each says to the other, and measures it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from clustersession.agent.event_log import EventLog
from clustersession.agent.pacing import Paced
from clustersession.core.errors import StoreErrorKind
from clustersession.net.store.client import StoreClient
from clustersession.net.store.grant import Grant
from clustersession.net.store.open_store import plan_of
from clustersession.node.engine import Engine
from clustersession.node.moment import Moment
from clustersession.node.store_calls import Merge, Read, StoreCall
from clustersession.node.store_peer import StorePeer
from clustersession.settings.settings import Settings
from clustersession.store.library import CHANGE

CHANGED_INTERVAL_S: Final = 0.002
"""What others change is passed on at once, but no more often than this: each session is read again,
also after the writes of our own workers, of which the store tells this connection too."""

GOODBYE_S_MAX: Final = 1.0
GOODBYE_LOOK_S: Final = 0.01
_SMOOTHING: Final = 8
"""A round trip counts for one in so many, as in TCP's estimate."""

Act = Callable[[Engine, Moment], None]


class StoreLink:
    """Implements ``net.store.open_store.StoreOwner`` for one node.

    act: does something with the engine of the present life, and carries out what that wants.
    client: the connection. pushed, read: how many sessions were told and asked, since the agent
    started. changes: how many the store said that others have changed. reached: how often the store
    came. reason: why it is away; empty while it is not, and before the first attempt has ended.
    """

    def __init__(self, settings: Settings, event_log: EventLog, act: Callable[[Act], None]) -> None:
        self._act = act
        self._event_log = event_log
        self._slow_s = settings.fetch_timeout_s
        self.client = StoreClient(plan_of(settings), self)
        self.pushed = self.read = self.changes = self.reached = 0
        self.reason = ""
        # Since when the store is there, or away, in monotonic seconds.
        self._since_s = time.monotonic()
        # By number, when a group was sent that is not answered; and how long groups took lately.
        self._sent_s: dict[int, float] = {}
        self._round_trip_s: float | None = None
        # What others have changed, until the node is told.
        self._changed: set[str] = set()
        self._paced = Paced(CHANGED_INTERVAL_S, self._pass_changed)

    def start(self) -> None:
        """Begin to connect."""
        self.client.start()

    async def close(self) -> None:
        """Let the goodbye get there, and close the connection."""
        for _ in range(round(GOODBYE_S_MAX / GOODBYE_LOOK_S)):
            if not self._sent_s or not self.client.is_up:
                break
            await asyncio.sleep(GOODBYE_LOOK_S)
        self._paced.cancel()
        await self.client.close()

    # ---- what the node wants ---------------------------------------------------------------------

    def ask(self, number: int, calls: Sequence[StoreCall]) -> None:
        """Send a group of calls."""
        if not self.client.is_up:
            return
        self._sent_s[number] = time.monotonic()
        self.pushed += sum(isinstance(call, Merge) for call in calls)
        self.read += sum(isinstance(call, Read) for call in calls)
        self.client.send(number, calls)

    def drop(self) -> None:
        """Break a connection on which the store says nothing."""
        self.client.drop()

    def grant(self, number: int, node: bytes) -> list[object]:
        """Return a grant of that number, as ``net.store.grant`` reads it; nothing: there is none.

        In a Cluster workers would have to find the server of each session.
        """
        server = self.client.server
        if server is None or not server.run_id:
            return []
        host, port = server.connection.address
        digest = server.digest(CHANGE)
        return [*Grant(number, node, host, port, server.run_id, digest)]

    # ---- what the store says ---------------------------------------------------------------------

    def store_up(self) -> None:
        """Let the node begin."""
        away_s = round(time.monotonic() - self._since_s, 1) if self.reached else 0.0
        self.reached += 1
        self.reason, self._since_s = "", time.monotonic()
        self._event_log.store_reached(", ".join(self.client.servers), away_s)
        self._act(lambda engine, at: engine.store_up(at))

    def store_down(self, reason: str) -> None:
        """Let the node go on without; told of each new reason."""
        if not self.reason:
            self._since_s = time.monotonic()
        self.reason = reason
        self._sent_s.clear()
        self._changed.clear()
        self._round_trip_s = None
        self._event_log.store_away(reason)
        self._act(lambda engine, at: engine.store_down(at))

    def store_answered(self, number: int, answers: Sequence[Any]) -> None:
        """Pass answers on."""
        now_s = time.monotonic()
        took_s = now_s - self._sent_s.pop(number, now_s)
        before_s = took_s if self._round_trip_s is None else self._round_trip_s
        self._round_trip_s = before_s + (took_s - before_s) / _SMOOTHING
        self._act(lambda engine, at: engine.store_answered(number, answers, at))

    def store_changed(self, keys: frozenset[str] | None) -> None:
        """Pass on what others have changed."""
        self.changes += 1 if keys is None else len(keys)
        if keys is None:
            self._changed.clear()
            self._act(lambda engine, at: engine.store_changed(None, at))
        else:
            self._changed |= keys
            self._paced.ask()

    def _pass_changed(self) -> None:
        told = sorted(self._changed)
        self._changed.clear()
        if told:
            self._act(lambda engine, at: engine.store_changed(told, at))

    def store_warned(self, text: str) -> None:
        """Have people read it."""
        self._event_log.seldom("warning", "store_warned", text, about=text)

    # ---- for people ------------------------------------------------------------------------------

    def status(self, store: StorePeer, feed_entries: int) -> dict[str, Any]:
        """Return what the status says of the store, in plain values."""
        return {
            "state": self._state(store),
            "slow": self._is_slow(),
            "where": self.client.where,
            "servers": self.client.servers,
            "since_s": round(time.monotonic() - self._since_s, 1),
            "reason": self.reason,
            "round_trip_ms": None if self._round_trip_s is None
            else round(1000 * self._round_trip_s, 2),
            "refused": len(store.overflow),
            "behind": min(store.sender.lag(), feed_entries),
            "oldest_s": self._oldest_s(store),
            "compared": store.reader.checked,
            "reached": self.reached,
            "pushed": self.pushed,
            "carried": store.sender.carried,
            "read": self.read,
            "changes": self.changes,
            "refreshed": store.reader.refreshed,
            "evicted": store.near_cache.evicted,
            "evicted_early": store.near_cache.evicted_early,
            "errors": {str(kind): self.client.errors[kind] for kind in StoreErrorKind},
            **self._usage(),
        }

    def _state(self, store: StorePeer) -> str:
        if not self.client.is_up:
            return "away"
        return "full" if store.overflow.is_full else "reached"

    def _is_slow(self) -> bool:
        """Tell whether a request that waits for an answer gets it late, or not at all."""
        if not self.client.is_up:
            return False
        owed_s = time.monotonic() - min(self._sent_s.values(), default=time.monotonic())
        return max(self._round_trip_s or 0.0, owed_s) > self._slow_s

    def _oldest_s(self, store: StorePeer) -> float | None:
        oldest_ms = store.sender.oldest_ms()
        return None if oldest_ms is None else round(max(0.0, time.time() - oldest_ms / 1000), 1)

    def _usage(self) -> dict[str, Any]:
        usage = self.client.usage
        return {
            "memory_bytes": sum(each.memory_bytes for each in usage) if usage else None,
            "memory_bytes_max": sum(each.memory_bytes_max for each in usage) if usage else None,
            "dropped": self.client.dropped,
            "drops": self.client.drops,
        }

