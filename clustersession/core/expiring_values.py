"""Keeps in the bytes of an attribute's value until when it counts.

Value and deadline are one register, so that of two writes nobody ever has the value of one and the
deadline of the other. The form is msgpack's extension type 14, whose content is the deadline, eight
bytes of milliseconds, and the bytes of the plain value. A version that does not know the type
leaves the attribute out, keeps it and passes it on.
"""

from struct import Struct

_FORM = Struct(">BIBQ")
_EXTENSION_OF_32_BITS = 0xC9
_EXPIRING = 14
_DEADLINE_BYTES = 8
_HEADER_BYTES = _FORM.size - _DEADLINE_BYTES
FIRST_BYTE = bytes((_EXTENSION_OF_32_BITS,))
LAST_MS = 2**63 - 1


def expiring(plain: bytes, until_ms: int) -> bytes:
    """Return a value that counts until then; ``plain``: the same without an end."""
    length = _DEADLINE_BYTES + len(plain)
    return _FORM.pack(_EXTENSION_OF_32_BITS, length, _EXPIRING, until_ms) + plain


def until_of(value: bytes) -> int | None:
    """Return until when a value counts, in wall-clock milliseconds; None: as long as its session.
    """
    if not value.startswith(FIRST_BYTE) or len(value) < _FORM.size:
        return None
    _, length, code, until_ms = _FORM.unpack_from(value)
    if code != _EXPIRING or length != len(value) - _HEADER_BYTES:
        return None
    return int(until_ms)


def plain_of(value: bytes) -> bytes:
    """Return a value without until when it counts."""
    return value if until_of(value) is None else value[_FORM.size :]


def is_expired(value: bytes, now_ms: int) -> bool:
    """Tell whether a value counts no longer."""
    until_ms = until_of(value)
    return until_ms is not None and until_ms <= now_ms


def later(value: bytes, by_ms: int) -> bytes:
    """Return a value that counts so much longer, if its time is limited."""
    until_ms = until_of(value)
    if until_ms is None:
        return value
    return expiring(plain_of(value), min(max(until_ms + by_ms, 0), LAST_MS))


__all__ = ["FIRST_BYTE", "LAST_MS", "expiring", "is_expired", "later", "plain_of", "until_of"]
