"""Sets and dicts that somebody made slow are neither written nor read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgpack
import pytest

from clustersession.core.errors import UnserializableValue, WireError
from clustersession.wire import values
from clustersession.wire.collisions import EQUAL_HASHES_MAX, SHORT_BYTES
from clustersession.wire.registered import register, unregister
from clustersession.wire.values import decode_value, encode_value

MODULUS = 2**61 - 1
"""Python's hash of a whole number is its remainder by this."""
MANY = 4000


def integers(count: int) -> list[Any]:
    return [(number + 8) * MODULUS for number in range(count)]


def uuids(count: int) -> list[Any]:
    return [UUID(int=number) for number in integers(count)]


def decimals(count: int) -> list[Any]:
    return [Decimal(number) for number in integers(count)]


def tuples(count: int) -> list[Any]:
    return [(number, "same") for number in integers(count)]


def frozensets(count: int) -> list[Any]:
    return [frozenset([number]) for number in integers(count)]


KINDS = [integers, uuids, decimals, tuples, frozensets]
SHAPES: dict[str, Callable[[list[Any]], object]] = {
    "set": set,
    "frozenset": frozenset,
    "keys": dict.fromkeys,
    "deep": lambda items: {"a": [1, ({"b": set(items)},)]},
    "keys deep": lambda items: {"a": [1, ({"b": dict.fromkeys(items)},)]},
    "inside a key": lambda items: {(frozenset(items),): 1},
}


@pytest.fixture
def unguarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What somebody with the secret can write."""
    with monkeypatch.context() as patched:
        patched.setattr(values, "may_hold_collisions", lambda data: False)
        yield


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_as_many_as_are_allowed_come_back(kind: Any, shape: Any) -> None:
    value = shape(kind(EQUAL_HASHES_MAX))
    assert decode_value(encode_value(value)) == value


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_one_more_is_not_written(kind: Any, shape: Any) -> None:
    with pytest.raises(UnserializableValue, match=r"^session\['cart'\].*elements of one hash"):
        encode_value(shape(kind(EQUAL_HASHES_MAX + 1)), "cart")


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("unguarded")
def test_one_more_is_not_read(kind: Any, shape: Any) -> None:
    data = encode_value(shape(kind(EQUAL_HASHES_MAX + 1)))
    with pytest.raises(WireError, match="elements of one hash"):
        decode_value(data)


def test_the_place_is_named() -> None:
    with pytest.raises(UnserializableValue, match=r"^session\['cart'\]\['seen'\]\[1\] is a .*set"):
        encode_value({"seen": [1, set(uuids(100))]}, "cart")


def test_text_in_the_same_value_is_no_way_around() -> None:
    """A lone surrogate sends a value through another encoder."""
    with pytest.raises(UnserializableValue, match="elements of one hash"):
        encode_value(["\ud800", set(uuids(100))], "cart")


@dataclass(frozen=True)
class Seen:
    ids: frozenset[UUID]


def test_what_a_registered_type_is_written_as_is_looked_at_too() -> None:
    register(Seen, "test.seen", lambda seen: seen.ids, Seen)
    try:
        with pytest.raises(UnserializableValue, match="elements of one hash"):
            encode_value([Seen(frozenset(uuids(100)))], "cart")
        few = [Seen(frozenset(uuids(3)))]
        assert decode_value(encode_value(few)) == few
    finally:
        unregister(Seen)


def test_repetitions_count_as_collisions() -> None:
    same = msgpack.packb(msgpack.ExtType(2, msgpack.packb([7.5] * MANY)))
    with pytest.raises(WireError, match="elements of one hash"):
        decode_value(same)


@pytest.mark.parametrize("value", [
    {float(2**n) for n in range(-500, 500)}, set(range(-MANY, MANY)), dict.fromkeys(range(MANY)),
    {UUID(int=n << 64 | n): n for n in range(MANY)}, {f"key {n}": n for n in range(MANY)},
    {(n, str(n)) for n in range(MANY)}, {Decimal(n) / 100 for n in range(MANY)},
])  # fmt: skip
def test_honest_data_of_any_size_comes_back(value: object) -> None:
    assert decode_value(encode_value(value)) == value


def test_in_a_short_value_there_is_no_room_for_too_many() -> None:
    assert all(len(encode_value(set(kind(EQUAL_HASHES_MAX)))) > SHORT_BYTES for kind in KINDS)
    floats = [2.0**exponent for exponent in range(-1074, 1024, 61)]
    assert len({hash(number) for number in floats}) == 1
    assert EQUAL_HASHES_MAX * len(msgpack.packb(floats[0])) > SHORT_BYTES
