"""Encodes session values as canonical msgpack, with extension types, and decodes them.

Canonical means that decoding and encoding again gives the same bytes (sets are sorted by their
encoded elements), because a changed value is recognised by comparing bytes.

What is kept and what is turned into something plainer:

* None, bool, int of any size, float, str, bytes, list, tuple, dict with any of these as keys,
  set, frozenset, datetime, date, time, timedelta, Decimal, UUID and markupsafe's Markup come back
  as they were. An aware datetime or time keeps its offset and not the name of its zone.
* Subclasses of the scalar types (a ``SafeString``, a ``numpy.float64``, a frozen clock's datetime,
  a member of a ``StrEnum`` or ``IntEnum``) and of list, tuple and dict (an OAuth token, a named
  tuple) come back as the plain type, and so do multi-dicts (``wire.containers``). The bytes are
  those of the plain value. Subclasses of set are refused, but for our own.
* bytearray and memoryview come back as bytes; lazy translation strings are stored as the
  text they stand for.
* Types that an application registers (``wire.registered``) come back as themselves.
* Members of an Enum without a type of these mixed in are refused: store ``member.value``.
* Sets and dicts whose elements were made to collide are refused, written and read
  (``wire.collisions``).
"""

import struct
from collections.abc import Callable, Collection, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any
from uuid import UUID

from msgpack import ExtType, Packer, unpackb

from clustersession.core.errors import UnserializableValue, WireError
from clustersession.core.expiring_values import FIRST_BYTE, plain_of
from clustersession.wire.collisions import (
    SHORT_BYTES,
    check_hashes,
    dict_of,
    holds_collisions,
    may_hold_collisions,
)
from clustersession.wire.containers import is_multi_dict, plain_dict
from clustersession.wire.merging import MergingSet
from clustersession.wire.packed import SHORT_BYTES as UNPACKED_AT_ONCE_BYTES
from clustersession.wire.packed import unpack
from clustersession.wire.registered import Registered, decoder_of, on_change, registered
from clustersession.wire.value_problems import Encoder, explain

_EXTENSION_DEPTH_MAX = 16
"""Levels of tuples and sets: each costs msgpack's decoder 40 kB of the C stack."""

# Codes are on disk and on the wire of running clusters: append only.
_TUPLE, _SET, _FROZENSET, _BIG_INT, _DECIMAL, _DATETIME = 1, 2, 3, 4, 5, 6
_DATE, _TIME, _TIMEDELTA, _UUID, _MARKUP = 7, 8, 9, 10, 11
_REGISTERED = 12
# 13 is the marker of a collection, see ``session.merging``; 14 is ``core.expiring_values``.

_LAZY_CLASS_NAMES = frozenset({"Promise", "LazyString", "_LazyString", "LazyProxy"})
_FOLD = "~"
_TIMEDELTA_FORMAT = struct.Struct(">iiI")


def encode_value(value: object, key: str = "") -> bytes:
    """Return the canonical bytes of a session value.

    Raises UnserializableValue, naming the session key, the path inside the value and the type.
    """
    # A Packer is not re-entrant and costs more to make than to use; list.pop and list.append are
    # atomic, so a packer is never in two hands.
    try:
        packer = _idle_packers.pop()
    except IndexError:
        packer = _packer(0)
    try:
        data: bytes = packer.pack(value)
    except Exception as error:
        data = _encode_or_explain(value, key, error)
    else:
        _idle_packers.append(packer)
    if may_hold_collisions(data) and holds_collisions(value):
        problem = ValueError("elements of one hash")
        raise UnserializableValue(explain(value, key, problem, _encoder_of, registered))
    return data


def encode_each(values: Collection[object], key: str = "") -> list[bytes]:
    """Encode several values at a fifth of what ``encode_value`` costs for each; raises the same."""
    try:
        packer = _idle_packers.pop()
    except IndexError:
        packer = _packer(0)
    try:
        encoded = list(map(packer.pack, values))
    except Exception:
        encoded = []
    else:
        _idle_packers.append(packer)
    if not encoded or max(map(len, encoded)) > SHORT_BYTES:
        # There something is to be looked at, or one cannot be stored.
        return [encode_value(value, key) for value in values]
    return encoded


def decode_each(encoded: Collection[bytes]) -> list[object]:
    """Decode several values at half of what ``decode_value`` costs for each; raises the same."""
    if max(map(len, encoded), default=0) <= UNPACKED_AT_ONCE_BYTES:
        try:
            return list(map(_decode_short, encoded))
        except Exception:  # one by one it is found which, and what can be done
            pass
    return [decode_value(data) for data in encoded]


def decode_value(data: bytes) -> object:
    """Decode a value; raises WireError when the bytes are not a whole one, and nothing else.

    Until when it counts is left to those who know the time.
    """
    if data.startswith(FIRST_BYTE):
        # Once, and not inside other values: each level would take some of the C stack.
        data = plain_of(data)
    try:
        return unpack(
            data, strict_map_key=len(data) > SHORT_BYTES, ext_hook=_decode_at_top, timestamp=3
        )
    except WireError:
        raise
    except Exception:
        return _decode_carefully(data)


def _packer(depth: int, unicode_errors: str = "strict") -> Packer:
    return Packer(
        strict_types=True,
        default=partial(_encode_special, depth=depth),
        unicode_errors=unicode_errors,
        buf_size=1024,
    )


_idle_packers: list[Packer] = []


def _encode_or_explain(value: object, key: str, error: Exception) -> bytes:
    if isinstance(error, UnicodeEncodeError):
        try:
            return _pack(value, 0)
        except Exception as second:
            error = second
    raise UnserializableValue(explain(value, key, error, _encoder_of, registered)) from error


def _decode_carefully(data: bytes) -> object:
    """Decode what need not be hostile: dicts with keys other than text, and lone surrogates."""
    try:
        return _nested(data, 0)
    except WireError:
        raise
    except Exception as error:  # whatever msgpack or a constructor makes of hostile bytes
        raise WireError(f"not a session value: {type(error).__name__}") from error


def _pack(value: object, depth: int) -> bytes:
    """Encode a value at a depth; lone surrogates, which JSON input can bring, are allowed."""
    if depth > _EXTENSION_DEPTH_MAX:
        raise ValueError("nested too deeply")
    data: bytes = _packer(depth, "surrogatepass").pack(value)
    return data


def _encode_special(value: Any, depth: int) -> Any:
    """Encode what msgpack cannot do itself; the packer calls this for each such value."""
    kind: Any = type(value)
    encoder = _encoder_of(kind)
    if encoder is None:
        raise TypeError(f"cannot be stored: {type(value)!r}")
    return encoder(value, depth)


@lru_cache(maxsize=512)
def _encoder_of(kind: Any) -> Encoder | None:
    if kind in _EXACT:
        return _EXACT[kind]
    if (known := registered(kind)) is not None:
        return partial(_encode_registered, known)
    if any(c.__name__ == "Markup" and c.__module__.startswith("markupsafe") for c in kind.__mro__):
        return lambda value, depth: ExtType(_MARKUP, _utf8(str.__str__(value)))
    for base, encoder in _BASES:
        if issubclass(kind, base):
            return encoder
    if is_multi_dict(kind):
        return _encode_dict
    if any(c.__name__ in _LAZY_CLASS_NAMES for c in kind.__mro__):
        return _encode_lazy
    return None


on_change(_encoder_of.cache_clear)


def _encode_registered(known: Registered, value: object, depth: int) -> ExtType:
    return ExtType(_REGISTERED, _pack([known.name, known.encode(value)], depth + 1))


def _encode_dict(value: object, depth: int) -> dict[Any, Any]:
    return plain_dict(value)


def _encode_tuple(value: tuple[object, ...], depth: int) -> ExtType:
    return ExtType(_TUPLE, _pack(list(value), depth + 1))


def _encode_set(code: int, value: Iterable[object], depth: int) -> ExtType:
    elements = sorted(_pack(element, depth + 1) for element in value)
    header = Packer(autoreset=True, buf_size=16).pack_array_header(len(elements))
    return ExtType(code, header + b"".join(elements))


def _encode_int(value: int, depth: int) -> object:
    plain = int.__int__(value)
    if -(2**63) <= plain < 2**64:
        return plain
    return ExtType(_BIG_INT, plain.to_bytes(plain.bit_length() // 8 + 1, "big", signed=True))


def _encode_datetime(value: datetime, depth: int) -> ExtType:
    _check_offset(value)
    text = datetime.isoformat(value) + (_FOLD if value.fold else "")
    return ExtType(_DATETIME, text.encode("ascii"))


def _encode_time(value: time, depth: int) -> ExtType:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise TypeError("a time in a zone without a fixed offset")
    _check_offset(value)
    text = time.isoformat(value) + (_FOLD if value.fold else "")
    return ExtType(_TIME, text.encode("ascii"))


def _check_offset(value: datetime | time) -> None:
    offset = value.utcoffset()
    if offset is not None and offset.microseconds:
        # fromisoformat reads an offset below a second as none at all.
        raise TypeError("its offset from UTC has a fraction of a second")


def _encode_timedelta(value: timedelta, depth: int) -> ExtType:
    # Subclasses have other ideas of their days; what timedelta itself computes is a plain one.
    plain = timedelta.__add__(value, timedelta())
    return ExtType(
        _TIMEDELTA, _TIMEDELTA_FORMAT.pack(plain.days, plain.seconds, plain.microseconds)
    )


def _encode_lazy(value: object, depth: int) -> str:
    text = str(value)
    return str.__str__(text)


def _encode_str(value: str, depth: int) -> str:
    return str.__str__(value)


_EXACT: dict[type, Encoder] = {
    tuple: _encode_tuple,
    set: partial(_encode_set, _SET),
    frozenset: partial(_encode_set, _FROZENSET),
    int: _encode_int,
}
_BASES: tuple[tuple[type, Encoder], ...] = (
    (str, _encode_str),
    (int, _encode_int),
    (float, lambda value, depth: float.__float__(value)),
    (bytes, lambda value, depth: bytes(value)),
    (datetime, _encode_datetime),
    (date, lambda value, depth: ExtType(_DATE, date.isoformat(value).encode("ascii"))),
    (time, _encode_time),
    (timedelta, _encode_timedelta),
    (Decimal, lambda value, depth: ExtType(_DECIMAL, Decimal.__str__(value).encode("ascii"))),
    (UUID, lambda value, depth: ExtType(_UUID, value.bytes)),
    (dict, _encode_dict),
    (list, lambda value, depth: list(value)),
    (MergingSet, partial(_encode_set, _SET)),
    (tuple, _encode_tuple),
)
"""Subclasses of these are stored as the plain value; each encoder goes by the base's methods."""


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _nested(data: bytes, depth: int) -> Any:
    if depth > _EXTENSION_DEPTH_MAX:
        raise WireError("nested too deeply")
    return unpack(
        data, strict_map_key=False, ext_hook=partial(_decode_extension, depth), timestamp=3,
        unicode_errors="surrogatepass",
        object_pairs_hook=dict_of if len(data) > SHORT_BYTES else None,
    )


def _decode_datetime(data: bytes) -> datetime:
    text = data.decode("ascii")
    if text.endswith(_FOLD):
        return datetime.fromisoformat(text[:-1]).replace(fold=1)
    return datetime.fromisoformat(text)


def _decode_time(data: bytes) -> time:
    text = data.decode("ascii")
    if text.endswith(_FOLD):
        return time.fromisoformat(text[:-1]).replace(fold=1)
    return time.fromisoformat(text)


def _decode_timedelta(data: bytes) -> timedelta:
    days, seconds, microseconds = _TIMEDELTA_FORMAT.unpack(data)
    return timedelta(days, seconds, microseconds)


def _decode_markup(data: bytes) -> str:
    text = data.decode("utf-8", "surrogatepass")
    try:
        # Here and not at the top: only an application that stores Markup has the package for sure.
        from markupsafe import Markup
    except ImportError:
        return text
    return Markup(text)


_CONTAINERS: dict[int, Callable[[list[Any]], object]] = {
    _TUPLE: tuple, _SET: set, _FROZENSET: frozenset,
}
_DECODERS: dict[int, Callable[[bytes], object]] = {
    _BIG_INT: lambda data: int.from_bytes(data, "big", signed=True),
    _DECIMAL: lambda data: Decimal(data.decode("ascii")),
    _DATETIME: _decode_datetime,
    _DATE: lambda data: date.fromisoformat(data.decode("ascii")),
    _TIME: _decode_time,
    _TIMEDELTA: _decode_timedelta,
    _UUID: lambda data: UUID(bytes=data),
    _MARKUP: _decode_markup,
}


def _decode_extension(depth: int, code: int, data: bytes) -> object:
    container = _CONTAINERS.get(code)
    if container is None:
        if code == _REGISTERED:
            return _decode_registered(depth, data)
        return _DECODERS[code](data)
    items = _nested(data, depth + 1)
    if type(items) is not list:
        raise WireError("not a list of items")
    if container is not tuple:
        check_hashes(items)
    return container(items)


def _decode_registered(depth: int, data: bytes) -> object:
    match _nested(data, depth + 1):
        case [str(name), content]:
            pass
        case _:
            raise WireError("not a registered value")
    decode = decoder_of(name)
    if decode is None:
        raise WireError(f"no type is registered here as {name!r:.120}")
    try:
        return decode(content)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise WireError(f"the decoder of {name!r} raised {reason:.300}") from error


_decode_at_top = partial(_decode_extension, 0)
_decode_short = partial(unpackb, strict_map_key=False, ext_hook=_decode_at_top, timestamp=3)
