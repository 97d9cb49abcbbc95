"""Counts what a session manager does."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Holds counts since the manager was made, for status and metrics; they only grow.

    Plain integers without a lock: under threads a count may miss a few.
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
