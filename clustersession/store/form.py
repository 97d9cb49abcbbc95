"""Writes a session as the fields of a hash in a store, and reads it back.

``merge.lua`` has the form. What it need not know, names and values of attributes, it gets as
``Names`` makes them; the idle timeout it reads, because the store ends idle sessions.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from clustersession.core.errors import WireError
from clustersession.core.state import IDLE_TIMEOUT, Ended, Register, SessionState
from clustersession.node.store_calls import IndexEntry

NODE_DIGITS: Final = 16
NUMBER_DIGITS: Final = 16
STAMP_LENGTH: Final = 49

_NUMBERS: Final = (b"c", b"a", b"d")


class SealedByOthers(WireError):
    """A value was sealed with a secret that is not ours."""


class DamagedSession(WireError):
    """A session of which parts cannot be read.

    parts: fields that no host can have written, each with its value. is_foreign: some part was
    sealed with a secret that is not ours.
    """

    def __init__(self, parts: Sequence[bytes], is_foreign: bool) -> None:
        super().__init__("a session in the store that cannot be read")
        self.parts = parts
        self.is_foreign = is_foreign


class Names(Protocol):
    """Seals what the store need not know."""

    def seal(self, key: str, stamp: bytes, name: str, value: bytes | None) -> tuple[bytes, bytes]:
        """Return the name and the value under which the store keeps a register."""
        ...

    def open(self, key: str, stamp: bytes, sealed: bytes, value: bytes) -> tuple[str, bytes | None]:
        """Return name and value of a register in the store. Raises WireError for what is forged."""
        ...


def fields_of(key: str, state: SessionState, names: Names) -> list[bytes]:
    """Return the fields and values of a copy, in turn."""
    numbers = (state.created_ms, state.accessed_ms, state.deadline_ms)
    flat = [part for pair in zip(_NUMBERS, map(_digits, numbers), strict=True) for part in pair]
    for node, seq in state.versions.items():
        flat += (b"v" + node.hex().encode(), _digits(seq))
    for name, register in state.registers.items():
        flat += _register(key, name, register, names)
    if state.ended is not None:
        time, node, reason = state.ended
        flat += (b"e", b"%016x%b%b" % (time, node.hex().encode(), reason.encode()))
    return flat


def change_of(key: str, part: SessionState, base: int, names: Names) -> list[bytes]:
    """Return what one node has written to a session, as ``change.lua`` takes it.

    base: the node's previous place in the session, 0 for none.
    """
    [(node, seq)] = part.versions.items()
    flat = [
        _digits(base), _digits(part.created_ms), _digits(part.deadline_ms),
        _digits(part.accessed_ms), b"v" + node.hex().encode(), _digits(seq),
    ]
    for name, register in part.registers.items():
        flat += _register(key, name, register, names)
    return flat


def state_of(key: str, fields: Mapping[bytes, bytes], names: Names) -> SessionState:
    """Read a session. Raises DamagedSession when a part of it cannot be read.

    Without one attribute it would be a session that nobody wrote.
    """
    reading = _Reading(key, names)
    parts: list[bytes] = []
    is_foreign = False
    for field, value in fields.items():
        try:
            reading.take(field, value)
        except SealedByOthers:
            is_foreign = True
        except WireError:
            parts += (field, value)
    state = reading.state()
    if state is None or parts or is_foreign:
        raise DamagedSession(parts, is_foreign)
    return state


def member_of(entry: IndexEntry) -> bytes:
    """Write an entry of a user's index."""
    time, node, seq = entry.stamp
    stamp = b"%016x%b%016x" % (time, node.hex().encode(), seq)
    return stamp + entry.key.encode("utf-8", "surrogatepass")


def entry_of(member: bytes) -> IndexEntry:
    """Read an entry of a user's index. Raises WireError for what no host can have written."""
    time, node, seq, _ = _stamp(member[: STAMP_LENGTH - 1] + b"1")
    try:
        key = member[STAMP_LENGTH - 1 :].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise WireError("an entry in the store that names no session") from None
    return IndexEntry(key, (time, node, seq))


class _Reading:
    """Puts a session together, field by field; what stands nowhere in the form is passed over."""

    def __init__(self, key: str, names: Names) -> None:
        self._key = key
        self._names = names
        self._numbers: dict[bytes, int] = {}
        self._versions: dict[bytes, int] = {}
        self._registers: dict[str, Register] = {}
        self._ended: Ended | None = None

    def take(self, field: bytes, value: bytes) -> None:
        """Read a field. Raises WireError."""
        if field in _NUMBERS:
            self._numbers[field] = _number(value)
        elif field == b"e":
            self._ended = _ended(value)
        elif field == b"i" or field[:1] == b"r":
            self._take_register(field, value)
        elif field[:1] == b"v":
            self._versions[_node(field[1:])] = _number(value)

    def _take_register(self, field: bytes, content: bytes) -> None:
        stamp, value = content[:STAMP_LENGTH], content[STAMP_LENGTH:]
        time, node, seq, is_set = _stamp(stamp)
        if field == b"i":
            name, plain = IDLE_TIMEOUT, value if is_set else None
        else:
            name, plain = self._names.open(self._key, stamp, field[1:], value)
        register = Register(time, node, seq, plain)
        # Two secrets give one attribute two names, while one takes the place of the other.
        found = self._registers.get(name)
        if found is None or found[:3] < register[:3]:
            self._registers[name] = register

    def state(self) -> SessionState | None:
        """Return the session; None when one of its times is missing."""
        if len(self._numbers) < len(_NUMBERS):
            return None
        created, accessed, deadline = (self._numbers[field] for field in _NUMBERS)
        registers = {} if self._ended else self._registers
        return SessionState(created, accessed, deadline, registers, self._versions, self._ended)


def _register(key: str, name: str, register: Register, names: Names) -> tuple[bytes, bytes]:
    time, node, seq, value = register
    stamp = b"%016x%b%016x%d" % (time, node.hex().encode(), seq, value is not None)
    if name == IDLE_TIMEOUT:
        return b"i", stamp + (value or b"")
    sealed, content = names.seal(key, stamp, name, value)
    return b"r" + sealed, stamp + content


def _digits(number: int) -> bytes:
    return b"%016x" % number


def _number(digits: bytes) -> int:
    if len(digits) != NUMBER_DIGITS:
        raise WireError("a number in the store that has not 16 digits")
    try:
        number = int(digits, 16)
    except ValueError:
        raise WireError("a number in the store that is none") from None
    if number >= 2**63 or _digits(number) != digits:
        raise WireError("a number in the store that no host writes")
    return number


def _node(digits: bytes) -> bytes:
    if len(digits) != NODE_DIGITS or digits != digits.lower():
        raise WireError("a node id in the store that has not 16 digits")
    try:
        return bytes.fromhex(digits.decode())
    except ValueError:
        raise WireError("a node id in the store that is none") from None


def _stamp(stamp: bytes) -> tuple[int, bytes, int, bool]:
    if len(stamp) != STAMP_LENGTH or stamp[48:] not in (b"0", b"1"):
        raise WireError("a register in the store without a stamp")
    return _number(stamp[:16]), _node(stamp[16:32]), _number(stamp[32:48]), stamp[48:] == b"1"


def _ended(end: bytes) -> Ended:
    try:
        return Ended(_number(end[:16]), _node(end[16:32]), end[32:].decode())
    except UnicodeDecodeError:
        raise WireError("an end in the store whose reason is no text") from None
