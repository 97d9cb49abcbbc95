"""Brings the sessions of another store into the replica, as records.

See ``session.legacy`` for what a record is. Repeating the import while the old application still
serves brings records up to date; what has been exchanged or ended here is never written again. A
record whose session is gone from the old store, because its user logged out there, is ended.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from clustersession.core.errors import UnserializableValue
from clustersession.core.state import (
    ACCESS_COARSENESS_DIVISOR,
    ACCESS_COARSENESS_MS_MAX,
    ENDED_REVOKED,
    IDLE_TIMEOUT,
    PRINCIPAL,
    SYSTEM_PREFIX,
    Change,
    Creation,
    SessionState,
    encode_ms,
    expires_ms,
)
from clustersession.replica.replica import Replica
from clustersession.session.visit import IMPORTED_PREFIX, SOURCE
from clustersession.settings.settings import Settings
from clustersession.tools.migration.old_stores import OldSession, Refused
from clustersession.tools.migration.plain_pickle import Opaque
from clustersession.wire.values import encode_value

BATCH = 200
PAGE = 500
_NODES_MAX = 200_000
_EXPIRY_SLACK_MS = 60_000
_DROPPED_MAX = 1000


@dataclass(slots=True)
class Report:
    """Says what an import did, or with ``dry_run`` would do. ``dropped``: by name and type."""

    dry_run: bool
    read: int = 0
    imported: int = 0
    updated: int = 0
    unchanged: int = 0
    exchanged: int = 0
    expired: int = 0
    gone: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    peers: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        counts = ("read", "imported", "updated", "unchanged", "exchanged", "expired", "gone")
        return {
            "dry_run": self.dry_run,
            **{name: getattr(self, name) for name in counts},
            "refused": dict(self.refused),
            "dropped": [
                {"key": key, "type": kind, "count": count}
                for (key, kind), count in self.dropped.most_common()
            ],
            "peers": self.peers,
        }


class Importer:
    """Runs once. ``source``: what names the old store, so that others' records are left alone.

    principal_key: the attribute that names the user, so that ``end_all`` reaches records too.

    State: ``_seen`` are the keys of all records that the old store had, so that the others can be
    ended. ``_batch`` is what is written next, each change with whether it makes a new record; BATCH
    at most. ``head`` is the feed's number of the last write, 0 before one. ``report`` counts.
    """

    def __init__(
        self, replica: Replica, settings: Settings, source: str, *,
        principal_key: str = "", dry_run: bool = False, keep_gone: bool = False,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._replica = replica
        self._settings = settings
        self._source = hashlib.sha256(source.encode()).hexdigest()[:16].encode()
        self._principal_key = principal_key
        self._keep_gone = keep_gone
        self._wall_ms = wall_ms
        self._seen: set[str] = set()
        self._batch: list[tuple[Change, bool]] = []
        self.head = 0
        self.report = Report(dry_run)

    def run(self, found: Iterable[OldSession | Refused], tell: Callable[[int], object]) -> Report:
        """Import everything; ``tell`` hears how many were read. Raises ReplicaFull."""
        report = self.report
        for item in found:
            report.read += 1
            if item.key:
                self._seen.add(item.key)
            if isinstance(item, Refused):
                report.refused[item.reason] += 1
            else:
                self._take(item)
            if report.read % 1000 == 0:
                tell(report.read)
        self._flush()
        # An empty store is more likely the wrong one than one whose users have all logged out.
        if report.read and not self._keep_gone:
            self._end_gone()
        return report

    def _take(self, old: OldSession) -> None:
        now_ms, report = self._wall_ms(), self.report
        longest_ms = round(1000 * self._settings.longest_life_s)
        left_ms = longest_ms
        if old.expires_ms is not None:
            left_ms = min(old.expires_ms - now_ms, longest_ms)
        if left_ms <= 0:
            report.expired += 1
            return
        sets = self._converted(old.values)
        if sets is None:
            report.refused["too large or too deep; see session_bytes_max"] += 1
            return
        sets[SOURCE] = self._source
        user = old.values.get(self._principal_key) if self._principal_key else None
        if type(user) in (str, int):
            sets[PRINCIPAL] = str(user).encode("utf-8", "surrogatepass")
        # Expiry allows for the coarseness of access times, and the record must not gain by that.
        coarse_ms = min(left_ms // (ACCESS_COARSENESS_DIVISOR + 1), ACCESS_COARSENESS_MS_MAX)
        idle_ms = max(left_ms - coarse_ms, 1)
        current = self._replica.get(old.key)
        if current is None:
            # Its end is remembered until the deadline, so that no later import brings it back.
            creation = Creation(now_ms, now_ms + longest_ms, idle_ms)
            self._put(Change(old.key, now_ms, sets, creation=creation), True)
        elif current.ended is not None:
            report.exchanged += 1
        elif now_ms > expires_ms(current):
            report.refused["it expired here; run the import again in a minute"] += 1
        else:
            self._update(old.key, current, sets, now_ms, idle_ms, left_ms)

    def _update(
        self, key: str, current: SessionState, sets: dict[str, bytes], now_ms: int, idle_ms: int,
        left_ms: int,
    ) -> None:
        stored = {n: r.value for n, r in current.registers.items() if r.value is not None}
        changed = {name: data for name, data in sets.items() if stored.get(name) != data}
        deletes = tuple(
            name for name in stored
            if name not in sets and (not name.startswith(SYSTEM_PREFIX) or name == PRINCIPAL)
        )
        moved = abs(expires_ms(current) - now_ms - left_ms) > _EXPIRY_SLACK_MS
        if not changed and not deletes and not moved:
            self.report.unchanged += 1
            return
        changed[IDLE_TIMEOUT] = encode_ms(idle_ms)
        self._put(Change(key, now_ms, changed, deletes), False)

    def _put(self, change: Change, is_new: bool) -> None:
        self._batch.append((change, is_new))
        if len(self._batch) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        report = self.report
        done: list[bool] = [True] * len(batch)
        if not report.dry_run:
            committed = self._replica.commit([change for change, _ in batch], self._wall_ms())
            self.head = max(self.head, committed.head)
            done = [state is not None for state in committed.states]
        for (_, is_new), effective in zip(batch, done, strict=True):
            report.imported += is_new and effective
            report.updated += not is_new and effective
            report.exchanged += not effective

    def _converted(self, values: dict[Any, Any]) -> dict[str, bytes] | None:
        """Encode what can be kept; None when that is too much for one session."""
        if not _is_bounded(values, self._settings.session_bytes_max):
            return None
        sets: dict[str, bytes] = {}
        total = 0
        for key, value in values.items():
            if type(key) is not str or key.startswith(SYSTEM_PREFIX):
                self._drop("(a key that is no text)", key)
                continue
            try:
                key.encode()
                data = encode_value(value, key)
            except (UnserializableValue, UnicodeEncodeError):
                self._drop(key, value)
                continue
            if len(key) + len(data) > self._settings.attribute_bytes_max:
                self._drop(key, value)
                continue
            sets[key] = data
            total += len(key) + len(data)
        return sets if total <= self._settings.session_bytes_max else None

    def _drop(self, key: str, value: object) -> None:
        kind = value.name if isinstance(value, Opaque) else type(value).__name__
        entry = (key[:100], kind[:100])
        if entry not in self.report.dropped and len(self.report.dropped) >= _DROPPED_MAX:
            entry = ("(others)", "")
        self.report.dropped[entry] += 1

    def _end_gone(self) -> None:
        now_ms, after = self._wall_ms(), ""
        while keys := self._replica.keys(after, PAGE):
            after = keys[-1]
            ends = [
                Change(key, now_ms, end=ENDED_REVOKED) for key in keys
                if key.startswith(IMPORTED_PREFIX) and key not in self._seen and self._is_ours(key)
            ]
            self.report.gone += len(ends)
            if ends and not self.report.dry_run:
                self.head = max(self.head, self._replica.commit(ends, now_ms).head)

    def _is_ours(self, key: str) -> bool:
        state = self._replica.get(key)
        if state is None or state.ended is not None or self._wall_ms() > expires_ms(state):
            return False
        register = state.registers.get(SOURCE)
        return register is not None and register.value == self._source


def _is_bounded(value: object, bytes_max: int) -> bool:
    """Tell whether a walk through a value ends soon.

    It may contain itself, or one part a million times.
    """
    waiting, nodes, size = [value], 0, 0
    while waiting:
        item = waiting.pop()
        nodes += 1
        if isinstance(item, (str, bytes, bytearray)):
            size += len(item)
        elif isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, (list, tuple, set, frozenset)):
            waiting += item
        if nodes + len(waiting) > _NODES_MAX or size > bytes_max:
            return False
    return True
