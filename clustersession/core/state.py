"""Is the session as a CRDT: a map of last-writer-wins registers, and an end that is terminal.

Two copies of a session merge the same way in any order and any number of times:

=================  ==========================================================================
created, deadline  minimum. The deadline is fixed when the session is created: were it a register
                   that a write could extend, a copy behind a partition could outlive the
                   tombstone of its own end.
accessed           maximum
registers          higher (time, node) wins; a deletion is a register without a value
ended              terminal: an ended session keeps no registers and never comes back
versions           pointwise maximum
=================  ==========================================================================

The idle timeout, the principal and the label are registers too, under names no application can use.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from clustersession.core.clock import wall_ms_of
from clustersession.core.expiring_values import later
from clustersession.core.versions import Versions, merge_versions

SYSTEM_PREFIX = "\x00"
IDLE_TIMEOUT = "\x00idle_ms"
PRINCIPAL = "\x00principal"
LOGIN = "\x00login"
LIFETIME = "\x00lifetime_ms"
LABEL = "\x00label"
LOCAL_PREFIX = "\x00local\x00"
"""Registers that stay on their node. The mark is in the stored name, so that whoever sends sessions
needs no settings to know them."""

ACCESS_COARSENESS_DIVISOR = 20
ACCESS_COARSENESS_MS_MAX = 300_000

ENDED_INVALIDATED = "invalidated"
ENDED_ROTATED = "rotated"
ENDED_REPLACED = "replaced"
"""The request that ended the session began another one, as a login that clears it first."""
ENDED_REVOKED = "revoked"
ENDED_LIMIT = "limit"


class Register(NamedTuple):
    """Holds one attribute's winning write.

    ``value`` None is a tombstone; ``seq`` is its place in the writer's change feed.
    """

    time: int
    node: bytes
    seq: int
    value: bytes | None


class Ended(NamedTuple):
    """Says when, by which node and why a session ended."""

    time: int
    node: bytes
    reason: str


class _Derived:
    """Keeps what follows from a state, worked out when first asked for: a copy is asked often.

    None until then, because an AttributeError costs more than most of what is kept here.
    """

    __slots__ = (
        "_attributes", "_encoded", "_expires_ms", "_highest", "_idle_ms", "_next_expiry_ms",
    )  # fmt: skip
    _attributes: Any  # what ``session.stored`` makes of the registers
    _encoded: bytes | None  # what ``wire.records`` read it from, to be passed on
    _expires_ms: int | None
    _highest: int | None
    _idle_ms: int | None
    _next_expiry_ms: int | None  # see ``core.reclaiming``


@dataclass(frozen=True, slots=True)
class SessionState(_Derived):
    """Holds one copy of one session, or the part of it that a delta carries.

    It never changes. created_ms: when the session began. accessed_ms: its last recorded access.
    deadline_ms: when it ends at the latest. registers: its attributes, and the library's own under
    reserved names; empty once it has ended. versions: per node, the highest place in that node's
    feed whose writes this copy contains. ended: when, by whom and why it ended.
    """

    created_ms: int
    accessed_ms: int
    deadline_ms: int
    registers: Mapping[str, Register] = field(default_factory=dict)
    versions: Mapping[bytes, int] = field(default_factory=dict)
    ended: Ended | None = None

    def __post_init__(self) -> None:
        for setter in _derived_setters:
            setter(self, None)

    def __reduce__(self) -> tuple[Any, ...]:
        """Have ``copy`` and ``pickle`` make it anew, without what follows from it."""
        return new_state, (
            self.created_ms, self.accessed_ms, self.deadline_ms, self.registers, self.versions,
            self.ended,
        )


_new = object.__new__
_setters: Any = [
    getattr(SessionState, name).__set__
    for name in ("created_ms", "accessed_ms", "deadline_ms", "registers", "versions", "ended")
]
_set_created, _set_accessed, _set_deadline, _set_registers, _set_versions, _set_ended = _setters
_derived_setters: Any = [getattr(_Derived, name).__set__ for name in _Derived.__slots__]
(
    _set_attributes, _set_encoded, _set_expires, _set_highest, _set_idle, _set_next_expiry,
) = _derived_setters


def new_state(
    created_ms: int,
    accessed_ms: int,
    deadline_ms: int,
    registers: Mapping[str, Register],
    versions: Mapping[bytes, int],
    ended: Ended | None,
) -> SessionState:
    """Make a ``SessionState`` at half the price: a change that is applied makes four of them."""
    state = _new(SessionState)
    _set_created(state, created_ms)
    _set_accessed(state, accessed_ms)
    _set_deadline(state, deadline_ms)
    _set_registers(state, registers)
    _set_versions(state, versions)
    _set_ended(state, ended)
    _set_attributes(state, None)
    _set_encoded(state, None)
    _set_expires(state, None)
    _set_highest(state, None)
    _set_idle(state, None)
    _set_next_expiry(state, None)
    return state


@dataclass(frozen=True, slots=True)
class Creation:
    """Says how a commit brings a session into being.

    per_second_max: only if no more than so many like it begin in a second on this node; 0: always.
    """

    created_ms: int
    deadline_ms: int
    idle_timeout_ms: int
    per_second_max: int = 0


class RegisterWrites(Protocol):
    """Is what a commit does to registers by rules of its own, see ``core.elements``."""

    def apply(
        self, registers: dict[str, Register], *, time: int, node: bytes, seq: int
    ) -> None:
        """Write into the registers of a copy, as one commit of a node."""
        ...


class Condition(Protocol):
    """Is on what a commit depends, see ``core.conditions``."""

    def holds(self, registers: Mapping[str, Register]) -> bool:
        """Tell whether it is so in the registers that the commit meets."""
        ...


@dataclass(slots=True)
class Change:
    """Describes one local commit to one session. Nobody changes it; every write makes one.

    ``creation`` is None for a session that must exist already: a session that is gone is never
    brought back by a write. ``end`` is the reason when the commit ends the session. ``held`` is the
    copy that the request has of a session which may have left for a store meanwhile; it stands in
    for that, and its end is a copy there as here. ``condition``: without it the change has no
    effect.
    """

    key: str
    accessed_ms: int
    sets: Mapping[str, bytes] = field(default_factory=dict)
    deletes: tuple[str, ...] = ()
    creation: Creation | None = None
    end: str | None = None
    held: SessionState | None = None
    elements: "RegisterWrites | None" = None
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """Carries what one node wrote to a session after some point of its feed.

    ``full`` says that the state holds every register of the session, so that it can stand alone;
    a delta that is not full only makes sense on top of a copy.
    """

    key: str
    state: SessionState
    full: bool


def merge(a: SessionState, b: SessionState) -> SessionState:
    """Return the join of two copies: commutative, associative, idempotent."""
    ended = a.ended if b.ended is None else b.ended if a.ended is None else min(a.ended, b.ended)
    return new_state(
        a.created_ms if a.created_ms < b.created_ms else b.created_ms,
        a.accessed_ms if a.accessed_ms > b.accessed_ms else b.accessed_ms,
        a.deadline_ms if a.deadline_ms < b.deadline_ms else b.deadline_ms,
        {} if ended is not None else _merge_registers(a.registers, b.registers),
        merge_versions(a.versions, b.versions),
        ended,
    )


def _merge_registers(
    a: Mapping[str, Register], b: Mapping[str, Register]
) -> dict[str, Register]:
    merged = dict(a)
    for name, theirs in b.items():
        ours = merged.get(name)
        if ours is None or _wins(theirs, ours):
            merged[name] = theirs
    return merged


def _wins(a: Register, b: Register) -> bool:
    # Equal stamps with unequal content can only come from a forger or a node that lost its past;
    # ordering them by content as well keeps the merge commutative even then.
    return (a.time, a.node, a.seq, a.value is not None, a.value or b"") > (
        b.time, b.node, b.seq, b.value is not None, b.value or b""
    )


def apply_change(
    current: SessionState | None, change: Change, *, time: int, node: bytes, seq: int
) -> SessionState | None:
    """Return the session after a local commit, or None when the commit must have no effect.

    A change to an ended session, or to one that is gone and not being created, has no effect:
    logout wins, whatever a slow request still wanted to write.
    """
    if current is None:
        if change.creation is None:
            return None
        creation = change.creation
        idle = Register(time, node, seq, encode_ms(creation.idle_timeout_ms))
        current = new_state(
            creation.created_ms, change.accessed_ms, creation.deadline_ms,
            {IDLE_TIMEOUT: idle}, {}, None,
        )
    elif current.ended is not None:
        return None
    versions = {**current.versions, node: seq}
    if change.condition is not None and not change.condition.holds(current.registers):
        return None
    accessed_ms = max(current.accessed_ms, change.accessed_ms)
    if change.end is not None:
        return new_state(
            current.created_ms, accessed_ms, current.deadline_ms,
            {}, versions, Ended(time, node, change.end),
        )
    registers = dict(current.registers)
    for name, value in change.sets.items():
        registers[name] = Register(time, node, seq, value)
    for name in change.deletes:
        if name in registers:
            registers[name] = Register(time, node, seq, None)
    if change.elements is not None:
        change.elements.apply(registers, time=time, node=node, seq=seq)
    return new_state(
        current.created_ms, accessed_ms, current.deadline_ms, registers, versions, None
    )


def shared(state: SessionState) -> SessionState:
    """Return what other nodes may have of a copy: all but the registers that stay on this node.

    The versions stay: nodes that hold the same shared registers agree on them, and on the digests.
    """
    local = [name for name in state.registers if name.startswith(LOCAL_PREFIX)]
    if not local:
        return state
    registers = {name: r for name, r in state.registers.items() if name not in local}
    return replace(state, registers=registers)


def reissue(
    state: SessionState, old: bytes, floor: int, *, node: bytes, seq: int
) -> SessionState:
    """Make what ``old`` wrote beyond place ``floor`` the write ``seq`` of ``node``.

    Each register is dated one tick later, the least that there is: what it won over it must win
    over still, and where times are equal the node id decides. Copies elsewhere may know other
    writes by ``old`` at those places, so this one claims none of them.
    """
    registers = {
        name: Register(register.time + 1, node, seq, register.value)
        if register.node == old and register.seq > floor else register
        for name, register in state.registers.items()
    }
    versions = {**state.versions, old: min(state.versions.get(old, 0), floor), node: seq}
    if versions[old] == 0:
        del versions[old]
    return SessionState(
        state.created_ms, state.accessed_ms, state.deadline_ms, registers, versions, state.ended
    )


def redated(
    state: SessionState, times: Mapping[int, int], *, node: bytes, seq: int, latest_ms: int
) -> SessionState:
    """Make what was written by a wrong clock the write ``seq`` of ``node``.

    ``times``: which hybrid times were wrong, and what each becomes; in the same order, so that what
    won over another still does. A session cannot have begun after ``latest_ms``; its deadline moves
    along. An end stays an end.
    """
    registers = {
        name: Register(times[register.time], node, seq, _dated_again(register, times))
        if register.time in times else register
        for name, register in state.registers.items()
    }
    ended = state.ended
    if ended is not None and ended.time in times:
        ended = Ended(times[ended.time], node, ended.reason)
    early_ms = max(0, state.created_ms - latest_ms)
    return new_state(
        state.created_ms - early_ms, min(state.accessed_ms, latest_ms),
        state.deadline_ms - early_ms, registers, {**state.versions, node: seq}, ended,
    )


def _dated_again(register: Register, times: Mapping[int, int]) -> bytes | None:
    """Return a value that counts as long after its new time as it did after the wrong one."""
    if register.value is None:
        return None
    return later(register.value, wall_ms_of(times[register.time]) - wall_ms_of(register.time))


def times_in(state: SessionState) -> set[int]:
    """Return every hybrid time in a copy."""
    ended = set() if state.ended is None else {state.ended.time}
    return ended | {register.time for register in state.registers.values()}


def moved(change: Change, by_ms: int) -> Change:
    """Return a change as if it had been made so much later."""
    creation = change.creation
    if creation is not None:
        creation = replace(
            creation, created_ms=creation.created_ms + by_ms,
            deadline_ms=creation.deadline_ms + by_ms,
        )
    sets = {name: later(value, by_ms) for name, value in change.sets.items()}
    return replace(change, accessed_ms=change.accessed_ms + by_ms, creation=creation, sets=sets)


def delta_since(key: str, state: SessionState, node: bytes, floor: int) -> Delta:
    """Return what ``node`` wrote to the session after place ``floor`` of its feed."""
    state = shared(state)
    own = {
        name: register
        for name, register in state.registers.items()
        if register.node == node and register.seq > floor
    }
    if len(own) == len(state.registers):
        return Delta(key, state, full=True)
    partial = SessionState(
        state.created_ms, state.accessed_ms, state.deadline_ms,
        own, {node: state.versions.get(node, 0)}, None,
    )
    return Delta(key, partial, full=False)


def apply_delta(current: SessionState | None, delta: Delta) -> SessionState | None:
    """Return the session after a peer's delta, or None when a copy must be fetched first.

    A partial delta is never turned into a session of its own: a request would see half a session.
    """
    if current is None:
        return delta.state if delta.full else None
    return merge(current, delta.state)


def encode_ms(value_ms: int) -> bytes:
    """Return the stored form of a duration register."""
    return b"%d" % value_ms


def idle_timeout_ms(state: SessionState) -> int:
    """Return the session's idle timeout in milliseconds; 0 when there is none."""
    known_ms = state._idle_ms
    if known_ms is not None:
        return known_ms
    register = state.registers.get(IDLE_TIMEOUT)
    if register is None or register.value is None or not register.value.isdigit():
        idle_ms = 0
    else:
        idle_ms = int(register.value[:15])
    _set_idle(state, idle_ms)
    return idle_ms


def principal_of(state: SessionState) -> str | None:
    """Return the user the session belongs to; None once it has ended."""
    register = state.registers.get(PRINCIPAL)
    if register is None or register.value is None:
        return None
    return register.value.decode("utf-8", "replace")


def login_time(state: SessionState) -> int:
    """Return the hybrid time at which the session got its principal; 0 when it has none.

    A session that changes its id is written anew; it brings the time along in a register.
    """
    register = state.registers.get(PRINCIPAL)
    if register is None or register.value is None:
        return 0
    kept = state.registers.get(LOGIN)
    if kept is None or kept.value is None or not kept.value.isdigit():
        return register.time
    return min(int(kept.value[:19]), register.time)


def access_coarseness_ms(idle_ms: int) -> int:
    """Return how stale a recorded last access may be: accesses are written at most this often."""
    return min(idle_ms // ACCESS_COARSENESS_DIVISOR, ACCESS_COARSENESS_MS_MAX)


def expires_ms(state: SessionState) -> int:
    """Return the wall-clock milliseconds after which the session is expired.

    The recorded last access may be too old by the coarseness, so that much is added: a live session
    is never expired early. A tombstone lasts until the deadline, after which no copy can be alive.
    """
    known_ms = state._expires_ms
    if known_ms is not None:
        return known_ms
    idle_ms = idle_timeout_ms(state)
    at_ms = state.deadline_ms
    if state.ended is None and idle_ms:
        at_ms = min(at_ms, state.accessed_ms + idle_ms + access_coarseness_ms(idle_ms))
    _set_expires(state, at_ms)
    return at_ms


def highest_time(state: SessionState) -> int:
    """Return the highest hybrid time in the copy, which a receiver's clock must not fall behind."""
    known = state._highest
    if known is not None:
        return known
    highest = state.ended.time if state.ended is not None else 0
    for register in state.registers.values():
        if register.time > highest:
            highest = register.time
    _set_highest(state, highest)
    return highest


__all__ = [
    "ENDED_INVALIDATED", "ENDED_LIMIT", "ENDED_REPLACED", "ENDED_REVOKED",
    "ENDED_ROTATED", "IDLE_TIMEOUT", "LABEL",
    "LIFETIME", "LOCAL_PREFIX", "LOGIN", "PRINCIPAL", "SYSTEM_PREFIX",
    "Change", "Condition", "Creation", "Delta", "Ended", "Register", "RegisterWrites",
    "SessionState", "Versions",
    "access_coarseness_ms", "apply_change", "apply_delta", "delta_since", "encode_ms",
    "expires_ms", "highest_time", "idle_timeout_ms", "login_time", "merge", "moved",
    "principal_of", "redated", "reissue", "shared", "times_in",
]
