"""Says what a way around the agent has to offer, and which writes may take one.

A direct way carries one write from the worker that made it to somebody else who holds it then, and
leaves the agent to hear of that afterwards. Whoever waits is spared the agent's turn. It is for
the write that most requests make; every other one goes through the agent.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import (
    IDLE_TIMEOUT,
    LOCAL_PREFIX,
    PRINCIPAL,
    SessionState,
    new_state,
)
from clustersession.replica.results import Stored

if TYPE_CHECKING:
    from clustersession.node.store_calls import Enter

_TELLING = frozenset({PRINCIPAL, IDLE_TIMEOUT})
"""Registers from which more follows than their value: indexes, revocations, when it expires."""


class PlainWrite(NamedTuple):
    """Is a write to one session that was there before and lives on.

    node, seq: its place in our feed. base: the place of our previous write to the session, 0 for
    none; the part stands on it, so whoever takes the part must hold that. part: what it has
    written. state: the session after it.
    """

    key: str
    node: bytes
    seq: int
    base: int
    part: SessionState
    state: SessionState

    @property
    def enter(self) -> "Enter | None":
        """Return what a store's index of users has to be told with it; None: nothing."""
        # Most workers have no store, and need nothing of the engine.
        from clustersession.node.store_index import entering

        return entering(self.key, self.state)


class DirectWay(Protocol):
    """Has a write confirmed without the agent. No method raises, or waits for long."""

    def confirm(self, write: PlainWrite) -> bool:
        """Tell whether somebody else holds the write now; False: the agent is to be asked.

        After True the agent has been told of the write, and that it is held.
        """
        ...

    async def confirm_async(self, write: PlainWrite) -> bool:
        """Do what ``confirm`` does, without blocking the event loop."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


def plain_write(head: int, stored: Sequence[Stored]) -> PlainWrite | None:
    """Return what a commit wrote, as far as it is a plain write; None for any other."""
    if len(stored) != 1:
        return None
    key, before, after = stored[0]
    if before is None or after.ended is not None or key[0] == RESERVED_PREFIX:
        return None
    moved = [node for node, seq in after.versions.items() if before.versions.get(node) != seq]
    if len(moved) != 1 or after.versions[moved[0]] != head:
        return None
    node, held = moved[0], before.registers
    written = {
        name: register for name, register in after.registers.items()
        if held.get(name) is not register and register.seq == head and register.node == node
        and not name.startswith(LOCAL_PREFIX)
    }
    if not _TELLING.isdisjoint(written):
        return None
    if len({register.time for register in written.values()}) > 1:
        # The deletion of an element is dated by what it deletes; stores take one time in a write.
        return None
    part = new_state(
        after.created_ms, after.accessed_ms, after.deadline_ms, written, {node: head}, None
    )
    return PlainWrite(key, node, head, before.versions.get(node, 0), part, after)
