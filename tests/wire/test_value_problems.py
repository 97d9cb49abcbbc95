"""A value that cannot be stored is named with its place."""

import enum
from collections import namedtuple
from datetime import datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from starlette.datastructures import FormData
from werkzeug.datastructures import MultiDict

import clustersession
from clustersession.core.errors import UnserializableValue
from clustersession.wire.registered import unregister
from clustersession.wire.values import decode_value, encode_value
from tests.wire.things import Promise, Thing


class BrokenPromise(Promise):
    def __str__(self) -> str:
        raise RuntimeError("no translation active")


class Colour(enum.Enum):
    RED = "red"


class Marks(set[str]):
    pass


class Broken(dict[str, Any]):
    def items(self) -> Any:
        raise LookupError("the form is closed")


class Money:
    pass


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Thing(), ["session['cart']", "Thing"]),
        ({"a": [1, Thing()]}, ["session['cart']['a'][1]", "Thing"]),
        ({"a": ({1, 2}, Thing())}, ["['a'][1]", "Thing"]),
        ({Thing(): 1}, ["key", "Thing"]),
        ([Colour.RED], ["[0]", "enum", "RED", ".value", "clustersession.register(Colour, "]),
        ({Colour.RED: 1}, ["key", "enum", "RED"]),
        ([Point(1, Thing())], ["[0][1]", "Thing"]),
        (MultiDict([("a", Thing())]), ["['a'] is", "Thing"]),
        (FormData([("a", Thing())]), ["['a'] is", "Thing"]),
        (Broken(), ["Broken", "the form is closed"]),
        ([Marks()], ["[0]", "Marks", "plain set", "clustersession.register(Marks, "]),
        (Money(), ['clustersession.register(Money, "tests.wire.test_value_problems.Money.1", ']),
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


def test_the_line_that_registers_an_enum_works_as_it_stands() -> None:
    with pytest.raises(UnserializableValue) as caught:
        encode_value(Colour.RED)
    line = "clustersession.register(" + str(caught.value).partition("clustersession.register(")[2]
    try:
        eval(line, {"clustersession": clustersession, "Colour": Colour})
        assert decode_value(encode_value(Colour.RED)) is Colour.RED
    finally:
        unregister(Colour)


def test_a_container_of_its_own_kind_that_holds_itself_is_refused() -> None:
    form = MultiDict[str, Any]()
    form["self"] = form
    with pytest.raises(UnserializableValue, match="contains itself"):
        encode_value(form, "x")


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
