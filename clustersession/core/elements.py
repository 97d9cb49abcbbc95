"""Keeps the elements of a collection in registers of their own, so that concurrent changes merge.

An element is a register like any other, under a name no application can use: merging, deltas,
stores, journals and nodes of older versions treat it as they treat an attribute. What makes that
sound:

* An element's name holds the node that added it, and only that node ever writes a value there: a
  **slot** of the node. A deletion is dated one tick after the value that it saw, so it wins over
  that value and over nothing written later.
* A node uses a slot again when it holds a deletion and the clock has gone past its date. So there
  are never more slots than elements at one time, and no deletion has to be forgotten.
* Of a counter each node writes its own sum. Who deletes a counter or sets it anew notes next to
  each sum what he saw of it, dated as that sum: of two such notes the later one saw more.

The place of an element in its collection is part of its value, because a register's own date
changes when a session moves to a new id.
"""

import struct
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

from clustersession.core.errors import WireError
from clustersession.core.state import LOCAL_PREFIX, SYSTEM_PREFIX, Register

ELEMENT_PREFIX = SYSTEM_PREFIX + "+"
LIST, DICT, SET, SUM, SEEN_SUM = "l", "d", "s", "c", "b"
"""Kinds of elements; they are in stored names: append only."""

SUM_DIGITS_MAX = 40
ELEMENTS_MAX = 16_384
"""So many elements one collection may have; a session keeps 65,536 registers."""

_KIND_AT = len(ELEMENT_PREFIX)
_END = "\x00"
_HEAD = struct.Struct(">Q8sHH")
_HEAD_BYTES, _STAMP_BYTES = 20, 18
_AT_END, _AT_START = b"\x01", b"\x00"


# Half the price of StoredElement(...), of which a large collection has many.
_new_tuple = tuple.__new__


class Place(IntEnum):
    """Says where an element goes: at the end, right after another one, or to where one was."""

    LAST = 0
    AFTER = 1
    AT = 2


class Addition(NamedTuple):
    """Is an element to be added.

    order: of the element that ``place`` speaks of; empty: of none, which is the start.
    """

    group: str
    content: bytes
    place: Place = Place.LAST
    order: bytes = b""


class StoredElement(NamedTuple):
    """Is an element as it is stored.

    stamp: when and by whom it was written, and which of that commit it was. order: sorts the
    elements of a collection.
    """

    name: str
    register: Register
    stamp: bytes
    order: bytes
    content: bytes


class ElementName(NamedTuple):
    """Says of which attribute a register is an element, and of what kind."""

    kind: str
    attribute: str
    identifier: str


class ElementWrites(NamedTuple):
    """Says what a commit does to collections; see ``apply``.

    retired: what it deletes, as it was seen. increments: what it adds to counters, by group.
    """

    additions: tuple[Addition, ...] = ()
    retired: Mapping[str, Register] = {}
    increments: Mapping[str, int] = {}

    def apply(
        self, registers: dict[str, Register], *, time: int, node: bytes, seq: int
    ) -> None:
        """Write the changes into the registers of a copy, as one commit of a node."""
        for name, seen in self.retired.items():
            _retire(registers, name, seen, node, seq)
        own = _text(node)
        for group, step in self.increments.items():
            name = group + own
            total = sum_in(registers.get(name)) + step
            registers[name] = Register(time, node, seq, b"%d" % total)
        groups = {addition.group for addition in self.additions}
        free = _free_slots(registers, groups, own, time)
        for index, addition in enumerate(self.additions):
            group = addition.group
            name = next(free[group], "") or f"{group}{own}{_text(b'%d.%d' % (time, index))}"
            value = _placed(addition, time, node, index)
            registers[name] = Register(time, node, seq, value)

    def __bool__(self) -> bool:
        return bool(self.additions or self.retired or self.increments)


NO_WRITES = ElementWrites()


def group_of(kind: str, attribute: str) -> str:
    """Return how the names of an attribute's elements begin."""
    return f"{ELEMENT_PREFIX}{kind}{attribute}{_END}"


def element_name(name: str) -> ElementName | None:
    """Read the name of a register; None for one that is no element."""
    if name.startswith(LOCAL_PREFIX):
        name = name[len(LOCAL_PREFIX) :]
    if not name.startswith(ELEMENT_PREFIX):
        return None
    rest, _, identifier = name[len(ELEMENT_PREFIX) :].rpartition(_END)
    return ElementName(rest[:1], rest[1:], identifier) if rest else None


def element_kind(name: str) -> str:
    """Return the kind in a name that ``element_name`` can read."""
    return name[_KIND_AT] if name.startswith(ELEMENT_PREFIX) else name[len(LOCAL_PREFIX) + _KIND_AT]


def read_element(name: str, register: Register) -> StoredElement:
    """Read an element that is there. Raises WireError."""
    value = register.value or b""
    content = _HEAD_BYTES + int.from_bytes(value[_STAMP_BYTES:_HEAD_BYTES])
    if len(value) < content:
        raise WireError("an element without its place or content")
    stamp = value[:_STAMP_BYTES]
    order = value[_HEAD_BYTES:content] or _AT_END + stamp
    return _new_tuple(StoredElement, (name, register, stamp, order, value[content:]))


def sum_in(register: Register | None) -> int:
    """Return the sum in a register, 0 when there is none. What no node writes counts nothing."""
    digits = b"" if register is None or register.value is None else register.value
    if len(digits) > SUM_DIGITS_MAX or not digits.removeprefix(b"-").isdigit():
        return 0
    return int(digits)


def seen_sum_name(name: str) -> str:
    """Return where stands what was seen of the sum of this name."""
    head, found, rest = name.partition(ELEMENT_PREFIX + SUM)
    return f"{head}{ELEMENT_PREFIX}{SEEN_SUM}{rest}" if found else name


def counted(registers: Mapping[str, Register], name: str) -> int:
    """Return what a node's sum adds to its counter: what it counted after all that was taken off.

    A sum older than what was seen of it is about to be followed by that one; until then it is 0.
    """
    own, seen = registers[name], registers.get(seen_sum_name(name))
    if seen is None:
        return sum_in(own)
    return 0 if own.time < seen.time else sum_in(own) - sum_in(seen)


def _retire(
    registers: dict[str, Register], name: str, seen: Register, node: bytes, seq: int
) -> None:
    known = element_name(name)
    if known is not None and known.kind == SUM:
        place = seen_sum_name(name)
        before = registers.get(place)
        if before is None or before.time < seen.time:
            registers[place] = Register(seen.time, node, seq, seen.value)
        elif before.time == seen.time and before.value != seen.value:
            # An older version has moved both to a new id.
            registers[place] = Register(seen.time + 1, node, seq, seen.value)
        return
    held = registers.get(name)
    # What is there now and was not seen stays: its node has used the slot again.
    if held is not None and held.value is not None and held[:2] == seen[:2]:
        registers[name] = Register(seen.time + 1, node, seq, None)


def _free_slots(
    registers: Mapping[str, Register], groups: Iterable[str], own: str, time: int
) -> dict[str, Iterator[str]]:
    """Return by group a node's slots that it may use at this time.

    Whoever else deletes what was there before dates that no later than the deletion that we hold.
    """
    free: dict[str, list[str]] = {group: [] for group in groups}
    for name, register in registers.items() if free else ():
        if register.value is None and register.time < time:
            group = name[: name.rfind(_END) + 1]
            if group in free and name.startswith(own, len(group)):
                free[group].append(name)
    return {group: iter(names) for group, names in free.items()}


def _placed(addition: Addition, time: int, node: bytes, index: int) -> bytes:
    _, content, place, order = addition
    own = _HEAD.pack(time, node, index, 0)[:_STAMP_BYTES]
    if place is Place.LAST:
        # A clock that was wrong may have dated what is there later than now.
        order = b"" if order < _AT_END + own else order + _newest_first(own)
    elif place is Place.AFTER:
        order = (order or _AT_START) + _newest_first(own)
    return own + _HEAD.pack(0, b"", 0, len(order))[_STAMP_BYTES:] + order + content


def _newest_first(stamp: bytes) -> bytes:
    """Have what is put right after another element come before what was put there earlier.

    Those of one commit stay in their order.
    """
    return bytes(255 - byte for byte in stamp[:-2]) + stamp[-2:]


def _text(identifier: bytes) -> str:
    return urlsafe_b64encode(identifier).decode().rstrip("=") + "."


__all__ = [
    "DICT",
    "ELEMENTS_MAX",
    "ELEMENT_PREFIX",
    "LIST",
    "NO_WRITES",
    "SEEN_SUM",
    "SET",
    "SUM",
    "Addition",
    "ElementName",
    "ElementWrites",
    "Place",
    "StoredElement",
    "counted",
    "element_kind",
    "element_name",
    "group_of",
    "read_element",
    "seen_sum_name",
    "sum_in",
]
