"""Compares the values that a request holds now with the bytes they were decoded from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from clustersession.core.errors import SessionTooLarge
from clustersession.core.state import LOCAL_PREFIX, SYSTEM_PREFIX, Register
from clustersession.wire.value_types import SCALARS
from clustersession.wire.values import encode_value

UNLOADED: Any = object()
"""Stands for a value that nobody has asked for yet."""


class Original(NamedTuple):
    """Holds a value as it was handed to the application, and its stored bytes."""

    value: object
    data: bytes


@dataclass(slots=True)
class AttributeChanges:
    """Names the attributes that a commit is to set, by their new bytes, and to delete.

    Nobody changes it; every write makes one.
    """

    sets: Mapping[str, bytes] = field(default_factory=dict)
    deletes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sets or self.deletes)


NO_CHANGES = AttributeChanges()


def visible_values(registers: Mapping[str, Register]) -> dict[str, bytes]:
    """Return the attributes that an application sees, by the names it knows.

    A name can stand there twice, when the patterns of ``local_attributes`` have changed: then what
    is local counts.
    """
    values: dict[str, bytes] = {}
    local: dict[str, bytes] = {}
    for name, register in registers.items():
        data = register.value
        if data is None:
            continue
        if not name.startswith(SYSTEM_PREFIX):
            values[name] = data
        elif name.startswith(LOCAL_PREFIX):
            local[name[len(LOCAL_PREFIX) :]] = data
    if local:
        values.update(local)
    return values


def find_changes(
    values: dict[str, Any], originals: Mapping[str, Original], bytes_max: int
) -> AttributeChanges:
    """Compare; raises UnserializableValue or SessionTooLarge for a value that cannot be kept."""
    sets: dict[str, bytes] = {}
    # The dict itself and not the methods of a session, which would load it.
    for name, value in dict.items(values):
        if value is UNLOADED:
            # What nobody has asked for yet is as it was. Not so its original, which another session
            # of the same copy may have decoded for all.
            continue
        original = originals.get(name)
        if original is not None and value is original.value and type(value) in SCALARS:
            continue
        data = encode_value(value, name)
        if original is not None and data == original.data:
            continue
        if len(name) + len(data) > bytes_max:
            raise SessionTooLarge(
                f"session[{name!r}] takes {len(data)} bytes; attribute_bytes_max is {bytes_max}"
            )
        sets[name] = data
    here = dict.keys(values)
    deletes = () if originals.keys() <= here else tuple(n for n in originals if n not in here)
    return AttributeChanges(sets, deletes) if sets or deletes else NO_CHANGES
