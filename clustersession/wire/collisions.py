"""Notices sets and dicts whose elements were chosen to have one hash.

Python salts the hashes of str and bytes. Those of numbers, UUIDs, Decimals and of tuples of them
can be computed by anybody: a few thousand of one hash make a set of them take seconds to build, in
every request that reads it. Nobody's honest data has more than a handful of one hash.
"""

from collections import Counter
from collections.abc import Collection
from typing import Any

from clustersession.core.errors import WireError
from clustersession.wire.containers import plain_container
from clustersession.wire.registered import registered
from clustersession.wire.value_types import SCALARS

EQUAL_HASHES_MAX = 64
"""Elements of one hash in a set or dict. As many make a MiB of UUIDs two to three times as slow."""

SHORT_BYTES = 512
"""In so few bytes no more elements of one hash have room, which take nine bytes and more each."""

_SALTED = frozenset({str, bytes})
_OF_INTEGERS = 13
"""Integers of 64 bits that have one hash; other elements begin with one of these bytes."""
_ELEMENTS = (b"\xc7", b"\xc8", b"\xc9", b"\xcb", b"\xd7", b"\xd8")
_LARGE = (b"\xde", b"\xdf", b"\x02\xdc", b"\x02\xdd", b"\x03\xdc", b"\x03\xdd")
"""With one of these begins a dict or a set of more than fifteen elements."""


def check_hashes(elements: Collection[Any]) -> None:
    """Raise WireError for elements that a set or dict should not be made of."""
    if collide(elements):
        raise WireError(f"more than {EQUAL_HASHES_MAX} elements of one hash")


def collide(elements: Collection[Any]) -> bool:
    """Say whether too many of these have one hash."""
    count = len(elements)
    if count <= EQUAL_HASHES_MAX or _SALTED.issuperset(map(type, elements)):
        return False
    if count - len(set(map(hash, elements))) < EQUAL_HASHES_MAX:
        return False
    return max(Counter(map(hash, elements)).values()) > EQUAL_HASHES_MAX


def dict_of(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Make a dict as msgpack's ``object_pairs_hook``. Raises WireError for keys that collide."""
    check_hashes([key for key, _ in pairs])
    return dict(pairs)


def may_hold_collisions(data: bytes) -> bool:
    """Say whether a value with these bytes is worth a look at its sets and dicts.

    It has to be cheap: every value that is written comes here.
    """
    return (
        len(data) > SHORT_BYTES
        and any(head in data for head in _LARGE)
        and sum(map(data.count, _ELEMENTS)) > EQUAL_HASHES_MAX - _OF_INTEGERS
    )


def holds_collisions(value: object) -> bool:
    """Look through a value that has been encoded, which may take as long as encoding it did."""
    waiting: list[Any] = [value]
    while waiting:
        current = waiting.pop()
        if (known := registered(type(current))) is not None:
            inside: list[Any] = [known.encode(current)]
        elif isinstance(current := plain_container(current), dict):
            if collide(current.keys()):
                return True
            inside = [*current.keys(), *current.values()]
        elif isinstance(current, (list, tuple, set, frozenset)):
            if isinstance(current, (set, frozenset)) and collide(current):
                return True
            inside = list(current)
        else:
            continue
        if not SCALARS.issuperset(map(type, inside)):
            waiting.extend(item for item in inside if type(item) not in SCALARS)
    return False
