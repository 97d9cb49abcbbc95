"""Small inputs made to cost much: lengths that nobody keeps, nests, floods of empty things.

Each exists at several sizes, so that what grows faster than its input shows.
"""

from collections.abc import Iterator

import msgpack

SIZES = (100, 4_000, 65_000)
NESTING_MAX = 1000
"""Msgpack's own decoder goes no deeper than 1,024."""


def bombs() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each."""
    for size in SIZES:
        yield from ((f"{name} of {size}", data) for name, data in _of_size(size))
    yield "extensions in extensions", _extensions(200)
    yield "a decimal with an enormous exponent", msgpack.packb(
        msgpack.ExtType(5, b"1E+99999999999999999")
    )


def _of_size(size: int) -> Iterator[tuple[str, bytes]]:
    for kind, name in ((0xDD, "arrays"), (0xDF, "maps")):
        yield f"nested {name} that claim everything", _nested_claims(kind, size)
        yield f"{name} with a claim of 4 billion", bytes((kind,)) + b"\xff" * 4 + bytes(size)
    for kind in (0xC6, 0xDB, 0xC9):
        yield f"string {kind:x} of 4 billion", bytes((kind,)) + b"\xff" * 4 + bytes(size)
    for item, name in ((b"\x90", "lists"), (b"\x80", "maps"), (b"\xa0", "texts"), (b"\xc0", "nil")):
        yield f"empty {name}", b"\xdd" + size.to_bytes(4, "big") + item * size
    yield "two-letter texts", b"\xdd" + (size // 3).to_bytes(4, "big") + b"\xa2ab" * (size // 3)
    yield "lists in lists", b"\x91" * min(size, NESTING_MAX) + b"\xc0"
    yield "lists in too many lists", b"\x91" * size + b"\xc0"
    yield "digits of a decimal", msgpack.packb(msgpack.ExtType(5, b"9" * size))
    yield "digits of an integer", msgpack.packb(msgpack.ExtType(4, b"\x7f" * size))
    numbers = [n * (2**61 - 1) for n in range(8)]
    yield "keys of one hash", msgpack.packb(dict.fromkeys(numbers, 0))
    uuids = [msgpack.packb(_colliding_uuid(n)) for n in range(size // 20)]
    array = b"\xdd" + len(uuids).to_bytes(4, "big") + b"".join(uuids)
    yield "a set of UUIDs of one hash", msgpack.packb(msgpack.ExtType(2, array))
    pairs = b"".join(uuid + b"\xc0" for uuid in uuids)
    yield "UUIDs of one hash as keys", b"\xdf" + len(uuids).to_bytes(4, "big") + pairs


def _nested_claims(kind: int, size: int) -> bytes:
    # Each list claims what the whole input could hold, and the next stands inside it.
    levels = min(NESTING_MAX, size // 10)
    claim = max(1, (size - 5 * levels) // (2 if kind == 0xDF else 1))
    key = b"\xc0" if kind == 0xDF else b""
    head = bytes((kind,)) + claim.to_bytes(4, "big") + key
    return head * levels + b"\xc0" * (size - len(head) * levels)


def _colliding_uuid(number: int) -> msgpack.ExtType:
    return msgpack.ExtType(10, ((number + 8) * (2**61 - 1)).to_bytes(16, "big"))


def _extensions(levels: int) -> bytes:
    inner = b"\x90"
    for _ in range(levels):
        inner = b"\x91\xc8" + len(inner).to_bytes(2, "big") + b"\x01" + inner
    return inner
