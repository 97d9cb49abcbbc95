"""Remembers decoded records, so that the same bytes are decoded once.

A sticky balancer brings the requests of a session to the same workers, and decoding a record costs
several times what fetching its bytes costs. A state is only used for the very bytes it was made
from or into, so whatever other processes write, nothing here can be stale.
"""

from typing import Any

from clustersession.core.state import SessionState
from clustersession.replica import tables

CACHE_BYTES_MAX = 8 * 2**20
"""Of each generation, so that the sessions of 2,000 active users stay, each of some attributes."""

RECORD_BYTES_MAX = 16 * 1024
LARGE_RECORD_BYTES_MAX = 2 * 2**20
"""Of records up to this length the last one stays: a request meets its own again at its commit.

With what is decoded of it, it takes what that request took anyway, some 10 MiB at most.
"""

_STATE_BYTES = 1_700
_REGISTER_BYTES = 320
_TIMES_DECODED = 4
"""What a record takes: its state, each attribute, and the bytes with what is decoded of them:
measured at 1 to 300 attributes of 4 to 1,000 bytes."""


Held = tuple[bytes, SessionState, list[Any] | None]
"""A record, the state in it and, of one that was written here, its plain form."""


class DecodedRecords:
    """Remembers the state of each key's record bytes; at times drops the half used longest ago.

    _recent, _before: two generations instead of a linked list: bounded, and safe under threads
        without a lock. When the recent one is full it becomes the one before.
    _recent_bytes: what the recent one takes, about.
    _large: the key and the entry of the large record that was met last.
    """

    def __init__(self) -> None:
        self._recent: dict[str, Held] = {}
        self._before: dict[str, Held] = {}
        self._recent_bytes = 0
        self._large: tuple[str, Held] | None = None

    def state_of(self, key: str, data: bytes) -> SessionState | None:
        """Return the state in a session's record, or None when it does not decode."""
        held = self._recent.get(key)
        if held is not None and held[0] == data:
            return held[1]
        large = self._large
        held = large[1] if large is not None and large[0] == key else self._before.get(key)
        if held is not None and held[0] == data:
            state: SessionState | None = held[1]
        else:
            state = tables.state_of_record(data)
        if state is not None:
            self.note(key, data, state)
        return state

    def newest(self, key: str) -> Held | None:
        """Return a key's record and state as they were met last; others may have written since."""
        return self._recent.get(key)

    def note(
        self, key: str, data: bytes, state: SessionState, plain: list[Any] | None = None
    ) -> None:
        """Remember that the record encodes the state; ``plain``: see ``StateDraft``."""
        if len(data) > RECORD_BYTES_MAX:
            is_kept = len(data) <= LARGE_RECORD_BYTES_MAX
            self._large = (key, (data, state, None)) if is_kept else None
            # Nor is what it was before it grew: every write would be prepared for that in vain.
            held = self._recent.pop(key, None)
            if held is not None:
                self._recent_bytes -= _taken_by(held[0], held[1])
            return
        held = self._recent.get(key)
        if held is not None:
            self._recent_bytes += _taken_by(data, state) - _taken_by(held[0], held[1])
        else:
            if self._recent_bytes >= CACHE_BYTES_MAX:
                self._before, self._recent, self._recent_bytes = self._recent, {}, 0
            self._recent_bytes += _taken_by(data, state)
        self._recent[key] = (data, state, plain)


def _taken_by(data: bytes, state: SessionState) -> int:
    return _STATE_BYTES + _REGISTER_BYTES * len(state.registers) + _TIMES_DECODED * len(data)
