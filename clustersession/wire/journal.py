"""Is the form of a node's journal: what it wrote and received, to be read again after a power cut.

A file begins with a header, which has a random salt; entries follow, each with its kind, its length
and two checksums, of these and of the body. The checksums begin with the salt: neither bytes that a
user had stored in a session nor a former file in the same blocks of the disk pass for an entry of
this one, and what only looks like one costs a reader no look at a whole body. Whatever follows may
be torn: a reader looks for the next entry whose checksums are right. An entry of a kind that this
version does not know is passed over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zlib import crc32

import msgpack

from clustersession.core.errors import WireError
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import Delta
from clustersession.wire.packed import unpack_plain
from clustersession.wire.records import (
    KEY_LENGTH_MAX,
    NODES_MAX,
    checked_integer,
    checked_key,
    checked_node,
    decode_delta,
    encode_delta,
)

SALT_BYTES = 8
_TITLE = b"clustersession journal 1\n"
HEADER_BYTES = len(_TITLE) + SALT_BYTES
_MARK = b"\xc5\x1bJe"
_KIND_BYTES, _LENGTH_BYTES, _SUM_BYTES = 1, 4, 4
ENTRY_HEADER_BYTES = len(_MARK) + _KIND_BYTES + _LENGTH_BYTES + 2 * _SUM_BYTES
BODY_BYTES_MAX = 20 * 2**20
ROUTE_LENGTH_MAX = 64
_OWN_UPTO_BYTES_MAX = 16
_KEY_BYTES_MAX = 8 + KEY_LENGTH_MAX
_COPIES, _ENDS, _MEMBERS, _LIFE, _SYNCED, _WHOLE = range(1, 7)


@dataclass(frozen=True, slots=True)
class JournalCopies:
    """Holds changes of sessions. own_upto: up to where in our own feed; 0: they are a peer's."""

    own_upto: int
    deltas: Sequence[Delta]


@dataclass(frozen=True, slots=True)
class JournalMembers:
    """Holds the members that a node knew: their routes, and when others left or were dropped.

    stamp: wall-clock milliseconds at which the list was true.
    """

    stamp: int
    members: Mapping[bytes, str]
    departed: Mapping[bytes, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JournalLife:
    """Says under which node id the node lives, and under which ones it lived before.

    former: those of which this journal has everything.
    """

    node: bytes
    former: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class JournalSynced:
    """Says that everything in the same file before this place was on the disk."""

    upto: int


@dataclass(frozen=True, slots=True)
class JournalWhole:
    """Says that this file and those after it hold a copy of everything; earlier ones may go."""


JournalEntry = JournalCopies | JournalMembers | JournalLife | JournalSynced | JournalWhole


class JournalDamage(NamedTuple):
    """Is a part of a file that could not be read: ``size`` bytes from ``start`` on."""

    start: int
    size: int


def file_header(salt: bytes) -> bytes:
    """Return what a file begins with."""
    return _TITLE + salt


def salt_of(header: bytes) -> bytes:
    """Return the salt from what a file begins with. Raises WireError."""
    if len(header) < HEADER_BYTES or not header.startswith(_TITLE):
        raise WireError("not a journal that this version can read")
    return header[len(_TITLE) : HEADER_BYTES]


def encode_entry(entry: JournalEntry, salt: bytes) -> bytes:
    """Return the entry as bytes of a file with this salt."""
    kind, plain = _plain_of(entry)
    body: bytes = msgpack.packb(plain)
    head = kind.to_bytes(_KIND_BYTES, "big") + len(body).to_bytes(_LENGTH_BYTES, "big")
    return b"".join((_MARK, head, _sum_of(salt, head), _sum_of(salt, head, body), body))


def has_ends(deltas: Sequence[Delta]) -> bool:
    """Tell whether a session ends in one of them, or a user's sessions are revoked."""
    return any(
        delta.state.ended is not None or delta.key[0] == RESERVED_PREFIX for delta in deltas
    )


class JournalPlace(NamedTuple):
    """Says where in a file a change of a session stands."""

    key: str
    place: int
    size: int


class JournalReader:
    """Finds the entries of one file that arrives in pieces, and what is damaged between them.

    ends_only: of changes, decode those entries alone that have ends; others come without theirs.

    _rest: what has not been read yet, ``_start`` its place in the file. _damaged_from: where the
    damage began that is being passed over; -1 for none.
    """

    def __init__(self, salt: bytes, *, ends_only: bool = False) -> None:
        self._salt = salt
        self._ends_only = ends_only
        self._rest = bytearray()
        self._start = HEADER_BYTES
        self._damaged_from = -1

    def receive(self, data: bytes) -> list[JournalEntry | JournalDamage]:
        """Return what a piece completes, in order."""
        self._rest += data
        return self._read(last=False)

    def finish(self) -> tuple[list[JournalEntry | JournalDamage], int]:
        """Return what is left when the file is over, and where its last whole entry ends."""
        found = self._read(last=True)
        return found, self._start if self._damaged_from < 0 else self._damaged_from

    def _read(self, *, last: bool) -> list[JournalEntry | JournalDamage]:
        found: list[JournalEntry | JournalDamage] = []
        data, at = bytes(self._rest), 0
        while True:
            size = self._size_at(data, at)
            if size == 0 and not last:
                break
            if size <= 0:
                at = self._pass_over(data, at, last=last)
                if at == len(data) or not data.startswith(_MARK, at):
                    break
                continue
            if self._damaged_from >= 0:
                place = self._start + at
                found.append(JournalDamage(self._damaged_from, place - self._damaged_from))
                self._damaged_from = -1
            self._decode(data, at, size, found)
            at += size
        del self._rest[:at]
        self._start += at
        return found

    def _size_at(self, data: bytes, at: int) -> int:
        """Return the size of the whole entry at a place; 0: more must come; -1: there is none."""
        head_at = at + len(_MARK)
        if not _MARK.startswith(data[at:head_at]):
            return -1
        body_at = at + ENTRY_HEADER_BYTES
        if len(data) < body_at:
            return 0
        head = data[head_at : head_at + _KIND_BYTES + _LENGTH_BYTES]
        sums = data[head_at + len(head) : body_at]
        length = int.from_bytes(head[_KIND_BYTES:], "big")
        if length > BODY_BYTES_MAX or _sum_of(self._salt, head) != sums[:_SUM_BYTES]:
            return -1
        if len(data) < body_at + length:
            return 0
        body = memoryview(data)[body_at : body_at + length]
        right = _sum_of(self._salt, head, body) == sums[_SUM_BYTES:]
        return ENTRY_HEADER_BYTES + length if right else -1

    def _pass_over(self, data: bytes, at: int, *, last: bool) -> int:
        """Return where the next entry may begin; all of it when there is none."""
        if self._damaged_from < 0:
            self._damaged_from = self._start + at
        found = data.find(_MARK, at + 1)
        if found >= 0:
            return found
        # A mark may be cut by the end of the piece.
        return len(data) if last else max(at + 1, len(data) - len(_MARK) + 1)

    def _decode(
        self, data: bytes, at: int, size: int, found: list[JournalEntry | JournalDamage]
    ) -> None:
        kind = data[at + len(_MARK)]
        body = data[at + ENTRY_HEADER_BYTES : at + size]
        try:
            if kind == _COPIES and self._ends_only:
                entry: JournalEntry | None = JournalCopies(_own_upto(body), ())
            else:
                entry = _entry_from(kind, body)
        except WireError:
            found.append(JournalDamage(self._start + at, size))
        else:
            if entry is not None:
                found.append(entry)


class JournalIndexer(JournalReader):
    """Finds where the changes of sessions stand, in place of the changes themselves.

    places: of all that was received, in order; whoever reads takes them away.
    """

    def __init__(self, salt: bytes) -> None:
        super().__init__(salt)
        self.places: list[JournalPlace] = []

    def _decode(
        self, data: bytes, at: int, size: int, found: list[JournalEntry | JournalDamage]
    ) -> None:
        if data[at + len(_MARK)] not in (_COPIES, _ENDS):
            return
        body_at = at + ENTRY_HEADER_BYTES
        unpacker = msgpack.Unpacker(max_buffer_size=BODY_BYTES_MAX)
        unpacker.feed(data[body_at : at + size])
        places: list[JournalPlace] = []
        try:
            unpacker.read_array_header()
            unpacker.skip()
            for _ in range(unpacker.read_array_header()):
                delta = unpacker.unpack()
                end = self._start + body_at + unpacker.tell()
                places.append(JournalPlace(_key_of(_bytes(delta)), end - len(delta), len(delta)))
        except (WireError, ValueError, TypeError, msgpack.UnpackException):
            found.append(JournalDamage(self._start + at, size))
        else:
            self.places += places


def _key_of(delta: bytes) -> str:
    """Return the key of an encoded delta, without a look at the rest."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(delta[:_KEY_BYTES_MAX])
    unpacker.read_array_header()
    return checked_key(unpacker.unpack())


def _sum_of(salt: bytes, head: bytes, body: bytes | memoryview = b"") -> bytes:
    return crc32(body, crc32(head, crc32(salt))).to_bytes(_SUM_BYTES, "big")


def _plain_of(entry: JournalEntry) -> tuple[int, list[Any]]:
    match entry:
        case JournalCopies(own_upto, deltas):
            kind = _ENDS if has_ends(deltas) else _COPIES
            return kind, [own_upto, [encode_delta(delta) for delta in deltas]]
        case JournalMembers(stamp, members, departed):
            return _MEMBERS, [stamp, list(members.items()), list(departed.items())]
        case JournalLife(node, former):
            return _LIFE, [node, list(former)]
        case JournalSynced(upto):
            return _SYNCED, [upto]
        case JournalWhole():
            return _WHOLE, []


def _entry_from(kind: int, body: bytes) -> JournalEntry | None:
    """Return the entry; None for a kind of a later version. Raises WireError."""
    try:
        plain = unpack_plain(body)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise WireError(f"not msgpack: {type(error).__name__}") from None
    if type(plain) is not list:
        raise WireError("an entry that is no list")
    if kind in (_COPIES, _ENDS):
        own_upto, deltas = _fields(plain, 2)
        return JournalCopies(
            checked_integer(own_upto), [decode_delta(_bytes(delta)) for delta in _rows(deltas)]
        )
    if kind == _MEMBERS:
        stamp, members, departed = _fields(plain, 3)
        return JournalMembers(
            checked_integer(stamp),
            {checked_node(node): _route(route) for node, route in _pairs(members)},
            {checked_node(node): checked_integer(ms) for node, ms in _pairs(departed)},
        )
    if kind == _LIFE:
        node, former = _fields(plain, 2)
        return JournalLife(checked_node(node), [checked_node(one) for one in _nodes(former)])
    if kind == _SYNCED:
        return JournalSynced(checked_integer(_fields(plain, 1)[0]))
    return JournalWhole() if kind == _WHOLE else None


def _own_upto(body: bytes) -> int:
    """Return the first part of an entry with changes, without a look at the others."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(body[:_OWN_UPTO_BYTES_MAX])
    try:
        unpacker.read_array_header()
        return checked_integer(unpacker.unpack())
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise WireError(f"not an entry with changes: {type(error).__name__}") from None


def _fields(plain: list[Any], count: int) -> list[Any]:
    if len(plain) < count:
        raise WireError(f"an entry with fewer than {count} parts")
    # What follows is of a later version.
    return plain[:count]


def _rows(value: object) -> list[Any]:
    if type(value) is not list:
        raise WireError("a part of an entry is no list")
    return value


def _nodes(value: object) -> list[Any]:
    rows = _rows(value)
    if len(rows) > NODES_MAX:
        raise WireError("too many nodes in an entry")
    return rows


def _pairs(value: object) -> list[Any]:
    rows = _nodes(value)
    if any(type(row) is not list or len(row) != 2 for row in rows):
        raise WireError("a row of an entry is no pair")
    return rows


def _bytes(value: object) -> bytes:
    if type(value) is not bytes:
        raise WireError("a delta that is not bytes")
    return value


def _route(value: object) -> str:
    if type(value) is not str or len(value) > ROUTE_LENGTH_MAX:
        raise WireError("a route that is no text, or too long")
    return value
