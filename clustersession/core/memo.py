"""Remembers a bounded number of answers that were worked out before."""

from typing import Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


class Memo(Generic[_K, _V]):
    """Keeps answers by question; now and then the half not asked for lately is dropped.

    Two generations instead of a linked list: bounded, and safe under threads without a lock.
    """

    __slots__ = ("_before", "_half", "_recent")

    def __init__(self, entries_max: int) -> None:
        self._half = max(entries_max // 2, 1)
        self._recent: dict[_K, _V] = {}
        self._before: dict[_K, _V] = {}

    def get(self, key: _K) -> _V | None:
        """Return the answer, or None when it is not known any more."""
        value = self._recent.get(key)
        if value is None:
            value = self._before.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: _K, value: _V) -> None:
        """Remember an answer."""
        if len(self._recent) >= self._half:
            self._before, self._recent = self._recent, {}
        self._recent[key] = value
