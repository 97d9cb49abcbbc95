"""Counts what a session manager does."""

from dataclasses import dataclass, field, fields

from clustersession.core.durations import Durations


@dataclass(slots=True)
class Counters:
    """Holds counts since the manager was made, for status and metrics; they only grow.

    Plain integers without a lock: under threads a count may miss a few. ``created`` and
    ``ended_...`` count sessions whose life began and ended by this process, for each reason of
    ``core.state``; ``commit``, ``confirm`` and ``fetch`` how long these took.
    """

    commits: int = 0
    touches: int = 0
    strayed: int = 0
    failovers: int = 0
    lost_writes: int = 0
    late_new_sessions: int = 0
    refused_new_sessions: int = 0
    replica_full: int = 0
    decode_errors: int = 0
    fetches: int = 0
    fetched: int = 0
    unconfirmed: int = 0
    stale_reads: int = 0
    created: int = 0
    ended_invalidated: int = 0
    ended_limit: int = 0
    ended_replaced: int = 0
    ended_revoked: int = 0
    ended_rotated: int = 0
    commit: Durations = field(default_factory=Durations)
    confirm: Durations = field(default_factory=Durations)
    fetch: Durations = field(default_factory=Durations)

    def told(self) -> dict[str, int]:
        """Return all counts by the names under which an agent is told of them."""
        counts: dict[str, int] = {}
        for name in _NAMES:
            value = getattr(self, name)
            counts.update(value.told(name) if isinstance(value, Durations) else [(name, value)])
        return counts


_NAMES = tuple(each.name for each in fields(Counters))
