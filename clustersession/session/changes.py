"""Compares the values that a request holds now with the bytes they were decoded from."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from clustersession.core.elements import ELEMENT_PREFIX, Addition, ElementWrites
from clustersession.core.errors import SessionTooLarge
from clustersession.core.expiring_values import expiring, plain_of
from clustersession.core.state import LOCAL_PREFIX, SYSTEM_PREFIX, Register
from clustersession.session.merging import (
    Elements,
    elements_in,
    find_element_changes,
    is_marker,
    is_unchanged,
    kind_of,
    with_collections,
)
from clustersession.wire.value_types import SCALARS
from clustersession.wire.values import encode_value

_ELEMENTS = (ELEMENT_PREFIX, LOCAL_PREFIX + ELEMENT_PREFIX)
UNLOADED: Any = object()
"""Stands for a value that nobody has asked for yet."""


class Original(NamedTuple):
    """Holds a value as it was handed to the application, and its stored bytes."""

    value: object
    data: bytes


@dataclass(slots=True)
class AttributeChanges:
    """Names the attributes that a commit is to set, by their new bytes, and to delete.

    Nobody changes it; every write makes one. elements: what happens to elements of collections;
    None where no collection is concerned. collections: the attributes that are changed ones.
    """

    sets: Mapping[str, bytes] = field(default_factory=dict)
    deletes: tuple[str, ...] = ()
    elements: ElementWrites | None = None
    collections: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sets or self.deletes or self.elements)


NO_CHANGES = AttributeChanges()
NO_ELEMENTS: Mapping[str, Elements] = MappingProxyType({})
NO_UNTILS: Mapping[str, int] = MappingProxyType({})


def visible_values(registers: Mapping[str, Register]) -> dict[str, bytes]:
    """Return the attributes that an application sees, by the names it knows.

    A name can stand there twice, when the patterns of ``local_attributes`` have changed: then what
    is local counts.
    """
    return values_and_elements(registers)[0]


def values_and_elements(
    registers: Mapping[str, Register]
) -> tuple[dict[str, bytes], Mapping[str, Elements]]:
    """Return the visible values, and the elements of all collections by attribute."""
    values: dict[str, bytes] = {}
    local: dict[str, bytes] = {}
    has_elements = has_markers = False
    for name, register in registers.items():
        data = register.value
        if data is None:
            continue
        if name.startswith(_ELEMENTS):
            has_elements = True
            continue
        has_markers |= is_marker(data)
        if not name.startswith(SYSTEM_PREFIX):
            values[name] = data
        elif name.startswith(LOCAL_PREFIX):
            local[name[len(LOCAL_PREFIX) :]] = data
    if local:
        values.update(local)
    if has_elements or has_markers:
        elements = elements_in(registers) if has_elements else NO_ELEMENTS
        return with_collections(values, elements, registers), elements
    return values, NO_ELEMENTS


def is_as_stored(value: object, data: bytes, name: str) -> bool:
    """Tell whether a value is the one stored. Raises UnserializableValue."""
    if kind_of(value) is None:
        return encode_value(value, name) == plain_of(data)
    return is_unchanged(value, data, name)


def check_attribute_size(name: str, data: bytes, bytes_max: int) -> None:
    """Raise SessionTooLarge for a value that takes more."""
    if len(name) + len(data) > bytes_max:
        raise SessionTooLarge(
            f"session[{name!r}] takes {len(data)} bytes; attribute_bytes_max is {bytes_max}"
        )


def _limited(value: object, name: str, untils: Mapping[str, int]) -> bytes:
    data = encode_value(value, name)
    return expiring(data, untils[name]) if name in untils else data


def find_changes(
    values: dict[str, Any],
    originals: Mapping[str, Original],
    bytes_max: int,
    elements: Mapping[str, Elements] = NO_ELEMENTS,
    untils: Mapping[str, int] = NO_UNTILS,
    were_limited: Container[str] = (),
) -> AttributeChanges:
    """Compare; raises UnserializableValue or SessionTooLarge for a value that cannot be kept.

    elements: those of all collections, by attribute. untils: until when attributes are to count.
    were_limited: those whose stored time is limited.
    """
    sets: dict[str, bytes] = {}
    merging: list[str] = []
    # The dict itself and not the methods of a session, which would load it.
    for name, value in dict.items(values):
        if value is UNLOADED:
            # What nobody has asked for yet is as it was. Not so its original, which another session
            # of the same copy may have decoded for all.
            continue
        original = originals.get(name)
        if type(value) in SCALARS:
            if original is not None and value is original.value and name not in were_limited:
                continue
        elif kind_of(value) is not None:
            if original is None or not is_unchanged(value, original.data, name):
                merging.append(name)
            continue
        data = _limited(value, name, untils) if untils else encode_value(value, name)
        if original is not None and data == original.data:
            continue
        check_attribute_size(name, data, bytes_max)
        sets[name] = data
    here = dict.keys(values)
    deletes = () if originals.keys() <= here else tuple(n for n in originals if n not in here)
    if merging or (elements and not elements.keys().isdisjoint((*sets, *deletes))):
        return _with_elements(values, originals, bytes_max, elements, merging, sets, deletes)
    return AttributeChanges(sets, deletes) if sets or deletes else NO_CHANGES


def _with_elements(
    values: dict[str, Any],
    originals: Mapping[str, Original],
    bytes_max: int,
    elements: Mapping[str, Elements],
    merging: Sequence[str],
    sets: dict[str, bytes],
    deletes: tuple[str, ...],
) -> AttributeChanges:
    """Add what happens to elements: what was seen of an attribute that is no collection any more
    goes with it."""
    additions: list[Addition] = []
    increments: dict[str, int] = {}
    retired: dict[str, Register] = {}
    for name in (*sets, *deletes):
        retired.update(elements.get(name, {}))
    for name in merging:
        original = originals.get(name)
        value, data = dict.__getitem__(values, name), None if original is None else original.data
        found = find_element_changes(value, data, elements.get(name, {}), name, bytes_max)
        additions += found.writes.additions
        increments.update(found.writes.increments)
        retired.update(found.writes.retired)
        if found.data is not None:
            sets[name] = found.data
    writes = ElementWrites(tuple(additions), retired, increments)
    return AttributeChanges(sets, deletes, writes, tuple(merging))
