"""Has the store's index of users name every session that is somebody's.

An entry goes with the session, in the same group, or from a worker in the same call, and before
anybody is told that the store has it. One that names a session which has ended, or is somebody
else's by now, does no harm: whoever reads it compares.
"""

from collections.abc import Iterable
from typing import NamedTuple

from clustersession.core.state import (
    IDLE_TIMEOUT,
    PRINCIPAL,
    SessionState,
    expires_ms,
    idle_timeout_ms,
)
from clustersession.node.store_calls import Enter, IndexEntry
from clustersession.replica.principals import is_users, tag_of

NOTED_MAX = 50_000


def entering(key: str, state: SessionState) -> Enter | None:
    """Return what the index has to be told of a session; None for one that is nobody's."""
    tag = tag_of(state)
    if tag is None or not is_users(key, state):
        return None
    time, node, seq, _ = state.registers[PRINCIPAL]
    return Enter(tag, IndexEntry(key, (time, node, seq)), expires_ms(state))


class Noted(NamedTuple):
    """Says what the index has of a session: whose, by which login, until when, idle how long."""

    tag: bytes
    stamp: tuple[int, bytes, int]
    until_ms: int
    idle_ms: int

    def lacks(self, now: "Noted", *, heard: bool) -> bool:
        """Tell whether the index is to be told more. ``heard``: see ``StoreIndex.entries``."""
        if self.stamp != now.stamp:
            return self.stamp < now.stamp
        return self.until_ms < now.until_ms and (not heard or self.idle_ms != now.idle_ms)


class StoreIndex:
    """Remembers what was noted since the connection began, so that most writes need no entry."""

    def __init__(self) -> None:
        # By session; at most NOTED_MAX, and then all are noted again when they are next seen.
        self._noted: dict[str, Noted] = {}

    def forget(self) -> None:
        """Note everything again: the store may have lost what it had."""
        self._noted.clear()

    def forget_of(self, keys: Iterable[str]) -> None:
        """Note some sessions again, which the store has lost."""
        for key in keys:
            self._noted.pop(key, None)

    def forget_user(self, tag: bytes) -> list[str]:
        """Enter the sessions of a user again, whose index the store has lost; return them."""
        keys = [key for key, noted in self._noted.items() if noted.tag == tag]
        self.forget_of(keys)
        return keys

    def entries(
        self, copies: Iterable[tuple[str, SessionState]], *, heard_by: bytes | None = None
    ) -> list[Enter]:
        """Return the calls that the index needs for some sessions; who asks sends them.

        ``heard_by``: others have written them, as this node hears, and noted how much longer they
        live. But who recorded an access may not have known of the login or of the idle timeout that
        the session has now: whoever wrote one of these, and whoever learns of the other, notes it.
        """
        calls = []
        for key, state in copies:
            call = entering(key, state)
            if call is None:
                continue
            stamp = call.entry.stamp
            now = Noted(call.tag, stamp, call.until_ms, idle_timeout_ms(state))
            idle, node = state.registers.get(IDLE_TIMEOUT), stamp[1]
            writers = {node} if idle is None else {node, idle.node}
            heard = heard_by is not None and heard_by not in writers
            before = self._noted.get(key)
            if before is not None and not before.lacks(now, heard=heard):
                continue
            if len(self._noted) >= NOTED_MAX:
                self._noted.clear()
            self._noted[key] = now
            calls.append(call)
        return calls
