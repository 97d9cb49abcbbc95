"""Changes bytes in the ways that hurt decoders. Fast: a campaign makes ten millions of these."""

from collections.abc import Callable
from random import Random
from typing import Any

import msgpack

BYTES_MAX = 70_000
"""Longer inputs are cut: the largest datagram, and enough for any length to go wrong."""

_LENGTHS = (0, 1, 15, 16, 31, 32, 255, 256, 4096, 8193, 65535, 65536, 2**24, 2**31 - 1, 2**32 - 1)
_HEADS8, _HEADS16, _HEADS32 = b"\xc4\xc7\xd9", b"\xc5\xc8\xda\xdc\xde", b"\xc6\xc9\xdb\xdd\xdf"
_TYPES = bytes(range(0xC0, 0xE0)) + b"\x00\x7f\x80\x81\x8f\x90\x91\x9f\xa0\xa1\xbf\xe0\xff"
_EXTREMES = tuple(
    msgpack.packb(value)
    for value in (
        None, True, False, 0, -1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0.0, 1.5,
        float("nan"), float("inf"), "", "\x00", "é" * 40, "x" * 1025, b"", bytes(8), bytes(9), [],
        [[]], {}, {"a": 1}, {1: 2}, [0] * 17, msgpack.ExtType(1, b""), msgpack.ExtType(4, b"\xff"),
        msgpack.ExtType(5, b"9" * 40), msgpack.Timestamp(2**34, 1), msgpack.ExtType(99, bytes(4)),
    )
)
_PLAIN = tuple(
    msgpack.unpackb(data, strict_map_key=False) for data in _EXTREMES
)


def length_claim(rng: Random) -> bytes:
    """The head of a string, array, map or extension of some claimed length."""
    length = rng.choice(_LENGTHS)
    if length < 256:
        return bytes((rng.choice(_HEADS8), length))
    if length < 65536:
        return bytes((rng.choice(_HEADS16),)) + length.to_bytes(2, "big")
    return bytes((rng.choice(_HEADS32),)) + length.to_bytes(4, "big")


def _flip(rng: Random, data: bytes, other: bytes) -> bytes:
    at = int(rng.random() * len(data))
    return b"%b%c%b" % (data[:at], data[at] ^ (1 << rng.getrandbits(3)), data[at + 1 :])


def _set(rng: Random, data: bytes, other: bytes) -> bytes:
    at = int(rng.random() * len(data))
    return b"%b%c%b" % (data[:at], rng.getrandbits(8), data[at + 1 :])


def _swap_type(rng: Random, data: bytes, other: bytes) -> bytes:
    at = int(rng.random() * len(data))
    kind = _TYPES[int(rng.random() * len(_TYPES))]
    return b"%b%c%b" % (data[:at], kind, data[at + 1 :])


def _insert(rng: Random, data: bytes, other: bytes) -> bytes:
    at = int(rng.random() * (len(data) + 1))
    return data[:at] + rng.randbytes(1 + rng.getrandbits(3)) + data[at:]


def _delete(rng: Random, data: bytes, other: bytes) -> bytes:
    at = int(rng.random() * len(data))
    return data[:at] + data[at + 1 + rng.getrandbits(3) :]


def _truncate(rng: Random, data: bytes, other: bytes) -> bytes:
    return data[: int(rng.random() * len(data))]


def _repeat(rng: Random, data: bytes, other: bytes) -> bytes:
    start = int(rng.random() * len(data))
    end = start + 1 + int(rng.random() * 40)
    return data[:start] + data[start:end] * (2 + rng.getrandbits(4)) + data[end:]


def _splice(rng: Random, data: bytes, other: bytes) -> bytes:
    return data[: int(rng.random() * len(data))] + other[int(rng.random() * len(other)) :]


def _graft(rng: Random, data: bytes, other: bytes) -> bytes:
    at, start = int(rng.random() * len(data)), int(rng.random() * len(other))
    piece = other[start : start + 1 + int(rng.random() * 40)]
    return data[:at] + piece + data[at + len(piece) :]


def _claim(rng: Random, data: bytes, other: bytes) -> bytes:
    at = int(rng.random() * len(data))
    claim = length_claim(rng)
    return data[:at] + claim + data[at + (len(claim) if rng.random() < 0.5 else 0) :]


def _extreme(rng: Random, data: bytes, other: bytes) -> bytes:
    at = int(rng.random() * len(data))
    return data[:at] + rng.choice(_EXTREMES) + data[at + 1 :]


def _bomb(rng: Random, data: bytes, other: bytes) -> bytes:
    at = int(rng.random() * len(data))
    head = length_claim(rng) if rng.random() < 0.5 else rng.choice((b"\x91", b"\x81", b"\x81\x00"))
    if rng.random() < 0.2:
        return data[:at] + _nested_extensions(rng)
    return data[:at] + head * rng.choice((20, 300, 520, 1030, 1500)) + data[at:]


def _nested_extensions(rng: Random) -> bytes:
    inner = b"\x90"
    for _ in range(rng.choice((3, 15, 16, 17, 18, 40))):
        inner = b"\x91" + b"\xc8" + len(inner).to_bytes(2, "big") + b"\x01" + inner
    return inner


def _restructure(rng: Random, data: bytes, other: bytes) -> bytes:
    """Replace one element of the msgpack structure, also of one that stands inside as bytes."""
    try:
        plain = msgpack.unpackb(data, strict_map_key=False)
        packed: bytes = msgpack.packb(_changed(rng, plain, 0))
    except Exception:  # it was no structure any more
        return _flip(rng, data, other)
    return packed


def _changed(rng: Random, plain: Any, depth: int) -> Any:
    if type(plain) is list and plain and depth < 8 and (depth == 0 or rng.random() < 0.8):
        at = int(rng.random() * len(plain))
        choice = rng.random()
        if choice < 0.06:
            del plain[at]
        elif choice < 0.12:
            plain.insert(at, plain[int(rng.random() * len(plain))])
        elif choice < 0.16:
            other = int(rng.random() * len(plain))
            plain[at], plain[other] = plain[other], plain[at]
        else:
            plain[at] = _changed(rng, plain[at], depth + 1)
        return plain
    if type(plain) is bytes and len(plain) > 8 and depth < 8 and rng.random() < 0.8:
        return _restructure(rng, plain, plain)
    return rng.choice(_PLAIN)


_OPERATIONS: tuple[Callable[[Random, bytes, bytes], bytes], ...] = (
    _flip, _flip, _set, _swap_type, _swap_type, _insert, _delete, _truncate, _repeat, _splice,
    _graft, _claim, _claim, _extreme, _restructure, _restructure, _restructure, _restructure,
)
_SELDOM = 0.004


def mutated(rng: Random, data: bytes, other: bytes) -> bytes:
    """The data with one to four changes; ``other`` is another valid input to take pieces from."""
    rounds = rng.getrandbits(2)
    while True:
        if not data:
            data = rng.randbytes(4)
        if rng.random() < _SELDOM:
            data = _bomb(rng, data, other)
        else:
            operation = _OPERATIONS[int(rng.random() * len(_OPERATIONS))]
            data = operation(rng, data, other or data)
        if rounds < 2:
            return data[:BYTES_MAX]
        rounds -= 1
