"""Remembers decoded records, so that the same bytes are decoded once.

A sticky balancer brings the requests of a session to the same workers, and decoding a record costs
several times what fetching its bytes costs. A state is only used for the very bytes it was made
from or into, so whatever other processes write, nothing here can be stale.
"""

from clustersession.core.state import SessionState
from clustersession.replica import tables

RECORDS_MAX = 512
RECORD_BYTES_MAX = 16 * 1024
"""Together they bound the cache: at most twice ``RECORDS_MAX`` records of this size."""


class DecodedRecords:
    """Remembers the state of each key's record bytes; at times drops the half used longest ago.

    _recent, _before: two generations instead of a linked list: bounded, and safe under threads
        without a lock. When the recent one is full it becomes the one before.
    """

    def __init__(self) -> None:
        self._recent: dict[str, tuple[bytes, SessionState]] = {}
        self._before: dict[str, tuple[bytes, SessionState]] = {}

    def state_of(self, key: str, data: bytes) -> SessionState | None:
        """Return the state in a session's record, or None when it does not decode."""
        held = self._recent.get(key)
        if held is not None and held[0] == data:
            return held[1]
        held = self._before.get(key)
        if held is not None and held[0] == data:
            state: SessionState | None = held[1]
        else:
            state = tables.state_of_record(data)
        if state is not None:
            self.note(key, data, state)
        return state

    def note(self, key: str, data: bytes, state: SessionState) -> None:
        """Remember that the record encodes the state."""
        if len(data) > RECORD_BYTES_MAX:
            return
        if len(self._recent) >= RECORDS_MAX:
            self._before, self._recent = self._recent, {}
        self._recent[key] = (data, state)
