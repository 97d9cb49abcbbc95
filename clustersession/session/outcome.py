"""What a commit asks of the response, and what a manager has counted."""

from dataclasses import dataclass
from typing import NamedTuple


class Outcome(NamedTuple):
    """``set_cookie``: a whole Set-Cookie value or None. ``vary``: add ``Vary: Cookie``.

    ``set_seen_cookie``: one more Set-Cookie value, only with ``consistency="causal"``.
    ``set_header``: a value for the header ``header_name``, see ``session.answer``.
    """

    set_cookie: str | None = None
    vary: bool = False
    set_seen_cookie: str | None = None
    set_header: str | None = None


@dataclass(slots=True)
class Counters:
    """Counts since the manager was made, for status and metrics.

    Plain integers without a lock: under threads a count may miss a few.
    """

    commits: int = 0
    touches: int = 0
    strayed: int = 0
    failovers: int = 0
    lost_writes: int = 0
    late_new_sessions: int = 0
    replica_full: int = 0
    decode_errors: int = 0
    fetches: int = 0
    fetched: int = 0
    unconfirmed: int = 0
    stale_reads: int = 0
