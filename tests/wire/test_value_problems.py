"""A value that cannot be stored is named with its place."""

import enum
from collections import namedtuple
from datetime import datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from clustersession.core.errors import UnserializableValue
from clustersession.wire.values import encode_value
from tests.wire.things import Promise, Thing


class BrokenPromise(Promise):
    def __str__(self) -> str:
        raise RuntimeError("no translation active")


class MultiDict(dict[str, Any]):
    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key)[0]


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Thing(), ["session['cart']", "Thing"]),
        ({"a": [1, Thing()]}, ["session['cart']['a'][1]", "Thing"]),
        ({"a": ({1, 2}, Thing())}, ["['a'][1]", "Thing"]),
        ({Thing(): 1}, ["key", "Thing"]),
        ([Colour.RED], ["[0]", "enum", ".value"]),
        (Level.LOW, ["enum", "LOW"]),
        ([Point(1, 2)], ["[0]", "Point", "tuple"]),
        (MultiDict(a=[1]), ["MultiDict", "plain dict"]),
        ({"when": time(1, tzinfo=ZoneInfo("Europe/Berlin"))}, ["['when']", "fixed offset"]),
        (datetime(2024, 1, 1, tzinfo=timezone(timedelta(microseconds=1))), ["fraction"]),
        ([BrokenPromise()], ["[0]", "no translation active"]),
        (object, ["type"]),
    ],
)
def test_what_cannot_be_stored_is_named(value: object, words: list[str]) -> None:
    with pytest.raises(UnserializableValue) as caught:
        encode_value(value, "cart")
    for word in ["session['cart']", *words]:
        assert word in str(caught.value)


def test_cycles_are_refused() -> None:
    a: list[Any] = []
    a.append([a])
    b: dict[str, Any] = {}
    b["t"] = (b,)
    for value in (a, b):
        with pytest.raises(UnserializableValue, match="contains itself"):
            encode_value(value, "x")


@pytest.mark.parametrize("value", [
    {10**5000: object()}, {(10**5000,): object()}, [{"a": {10**5000: object()}}],
    {frozenset([10**5000]): object()},
], ids=["key", "tuple", "nested", "set"])
def test_a_number_too_long_for_python_to_write_is_no_trouble(value: object) -> None:
    with pytest.raises(UnserializableValue, match="of type"):
        encode_value(value)
