"""Session values survive storage, canonically; everything else is refused by name."""

import enum
import math
import sys
from collections import OrderedDict, defaultdict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import pytest
from django.db.models import IntegerChoices, TextChoices
from django.utils.datastructures import MultiValueDict
from django.utils.functional import lazystr
from django.utils.safestring import SafeString
from freezegun.api import FakeDate, FakeDatetime
from hypothesis import given, settings
from hypothesis import strategies as st
from litestar.datastructures import FormMultiDict
from markupsafe import Markup
from multidict import CIMultiDict, MultiDictProxy
from multidict import MultiDict as AioMultiDict
from starlette.datastructures import FormData, QueryParams
from werkzeug.datastructures import (
    CombinedMultiDict,
    ImmutableMultiDict,
    MultiDict,
    TypeConversionDict,
)

from clustersession.core.errors import UnserializableValue, WireError
from clustersession.core.expiring_values import expiring
from clustersession.wire.values import decode_each, decode_value, encode_each, encode_value
from tests.wire.things import Promise, Thing

OFFSETS = st.integers(-86_399, 86_399).map(lambda s: timezone(timedelta(seconds=s)))

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**80), 2**80), st.floats(),
    st.text(), st.binary(max_size=40), st.dates(), st.timedeltas(), st.uuids(), st.decimals(),
    st.datetimes(), st.datetimes(timezones=OFFSETS), st.times(), st.times(timezones=OFFSETS),
    st.datetimes().map(lambda moment: moment.replace(fold=1)), st.text().map(Markup),
    st.text(st.characters()),
)  # fmt: skip

KEYS = st.one_of(
    st.text(), st.integers(), st.booleans(), st.dates(), st.uuids(),
    st.tuples(st.integers(), st.text()), st.frozensets(st.integers(), max_size=3),
)  # fmt: skip

HASHABLE = st.one_of(
    st.integers(), st.text(), st.binary(max_size=9), st.tuples(st.text(), st.floats()),
    st.dates(), st.frozensets(st.text(), max_size=3),
)  # fmt: skip

VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(KEYS, inner, max_size=5), st.sets(HASHABLE, max_size=5),
        st.frozensets(HASHABLE, max_size=5),
    ),
    max_leaves=12,
)  # fmt: skip


def same(a: Any, b: Any) -> bool:
    """Equality of value and type, NaN included, in depth."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(
            same(k, m) and same(v, w)
            for (k, v), (m, w) in zip(a.items(), b.items(), strict=True)
        )
    if isinstance(a, (set, frozenset)):
        return len(a) == len(b) and all(any(same(x, y) for y in b) for x in a)
    if isinstance(a, (datetime, time)):
        return a.isoformat() == b.isoformat() and a.fold == b.fold
    if isinstance(a, Decimal):
        return str(a) == str(b)
    return bool(a == b)


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert same(decode_value(encode_value(value)), value)


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_encoding_is_canonical(value: Any) -> None:
    data = encode_value(value)
    assert encode_value(decode_value(data)) == data


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_bad_bytes_raise_only_wire_error(data: bytes) -> None:
    try:
        decode_value(data)
    except WireError:
        pass


@given(VALUES, st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_bytes_raise_only_wire_error(value: Any, data: st.DataObject) -> None:
    damaged = bytearray(encode_value(value))
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position] = data.draw(st.integers(0, 255))
    try:
        decode_value(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    except WireError:
        pass


def test_deeply_nested_hostile_extensions_raise_only_wire_error() -> None:
    data = b"\x90"
    for _ in range(3000):
        data = b"\xc9" + len(data).to_bytes(4, "big") + b"\x01" + b"\x91" + data
    with pytest.raises(WireError):
        decode_value(data)


def test_sets_are_sorted_whatever_the_insertion_order() -> None:
    names = [f"name{i}" for i in range(50)]
    backwards = names[::-1]
    assert encode_value(set(names)) == encode_value(set(backwards))


@given(st.lists(VALUES, max_size=6))
def test_several_values_are_encoded_and_decoded_like_each_of_them(values: list[Any]) -> None:
    encoded = encode_each(values)
    assert encoded == [encode_value(value) for value in values]
    assert encode_each(decode_each(encoded)) == encoded


@pytest.mark.parametrize("last", ["\ud800", "x" * 300, {1: 2, (3, 4): 5}, {"a": "\ud800"}, b""])
def test_what_is_not_quick_may_stand_among_several_values(last: object) -> None:
    assert decode_each(encode_each(["a", 1, last])) == ["a", 1, last]


def test_one_of_several_values_that_cannot_be_stored_is_named() -> None:
    with pytest.raises(UnserializableValue, match=r"session\['cart'\] is of type .*object"):
        encode_each([1, "b", object()], "cart")
    colliding = {n * (2**61 - 1) for n in range(100)}
    with pytest.raises(UnserializableValue, match="elements of one hash"):
        encode_each([1, dict.fromkeys(colliding, 1)], "cart")


@pytest.mark.parametrize("bad", [b"", b"\x01\x02", b"\xdd\xff\xff\xff\xff", b"\xc1", b"\xd4\x0dl"])
def test_one_of_several_values_that_cannot_be_read_is_refused(bad: bytes) -> None:
    with pytest.raises(WireError):
        decode_each([b"\x01", bad, b"\x02"])


def test_a_lone_surrogate_survives() -> None:
    for value in ("\ud800", ["a", "\ud800"], {"\udfff": ("\ud83d\ude00", {"\ud800"})}):
        assert decode_value(encode_value(value)) == value


def test_markup_inside_tuples_stays_markup() -> None:
    value = decode_value(encode_value([("message", Markup("<b>x</b>"))]))
    assert value == [("message", Markup("<b>x</b>"))]
    assert type(value[0][1]) is Markup


def test_markup_without_markupsafe_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_value(Markup("<b>"))
    monkeypatch.setitem(sys.modules, "markupsafe", None)
    assert decode_value(data) == "<b>"


class Token(dict[str, Any]):
    """Like an OAuth token: a dict with methods."""

    @property
    def expired(self) -> bool:
        return True


class Text(str):
    __slots__ = ()


class Frozen(datetime):
    """What a test clock returns."""


class Weeks(timedelta):
    """Like pendulum's Duration, which counts its days from its weeks."""

    @property
    def days(self) -> int:
        return 0


class Status(enum.StrEnum):
    PAID = "p"


class OldStatus(str, enum.Enum):  # noqa: UP042 - as before Python 3.11
    PAID = "p"

    def __str__(self) -> str:
        return "Paid"


class Level(enum.IntEnum):
    LOW = 1


class Large(int, enum.Enum):
    HUGE = 2**70

    def __int__(self) -> int:
        return 0


class Right(enum.IntFlag):
    READ = 1
    WRITE = 2


class Rate(float, enum.Enum):
    HALF = 0.5


class Magic(bytes, enum.Enum):
    PNG = b"PNG"


class Day(date, enum.Enum):
    FIRST = 2026, 1, 2


class Pair(tuple[int, int], enum.Enum):
    ONES = 1, 1


class Numbered(list[Any]):
    """A list that reads differently from what it holds, as Django's ErrorList does."""

    def __iter__(self) -> Any:
        return iter(range(len(self)))


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(("value", "plain"), [
    (Status.PAID, "p"), (OldStatus.PAID, "p"), (Level.LOW, 1), (Large.HUGE, 2**70),
    (Right.READ | Right.WRITE, 3), (Rate.HALF, 0.5), (Magic.PNG, b"PNG"),
    (Day.FIRST, date(2026, 1, 2)), (Pair.ONES, (1, 1)),
    (Point(1, Status.PAID), (1, "p")), (sys.float_info, tuple(sys.float_info)),
    (SafeString("<b>"), "<b>"), (Weeks(days=8), timedelta(days=8)),
    (FakeDatetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
    (FakeDate(2026, 1, 2), date(2026, 1, 2)),
    (Numbered("ab"), [0, 1]),
    (TypeConversionDict(a="1"), {"a": "1"}),
    (MultiDict([("a", "1"), ("a", "2"), ("b", "x")]), {"a": "1", "b": "x"}),
    (ImmutableMultiDict([("a", "1"), ("a", "2")]), {"a": "1"}),
    (CombinedMultiDict([MultiDict({"a": "1"}), MultiDict({"b": "2"})]), {"a": "1", "b": "2"}),
    (MultiValueDict({"a": ["1", "2"]}), {"a": "2"}),
    (FormData([("a", "1"), ("a", "2"), ("b", "x")]), {"a": "2", "b": "x"}),
    (QueryParams("a=1&a=2"), {"a": "2"}),
    (FormMultiDict([("a", "1"), ("a", "2"), ("b", "x")]), {"a": "1", "b": "x"}),
    (AioMultiDict([("a", "1"), ("a", "2")]), {"a": "1"}),
    (MultiDictProxy(AioMultiDict(a="1")), {"a": "1"}),
    (CIMultiDict({"A": "1"}), {"A": "1"}),
], ids=lambda value: type(value).__name__)
def test_what_a_framework_s_json_takes_has_the_bytes_of_its_plain_value(
    value: Any, plain: Any
) -> None:
    assert encode_value(value) == encode_value(plain)
    assert encode_value([{"deep": value}]) == encode_value([{"deep": plain}])
    assert same(decode_value(encode_value(value)), plain)


@pytest.mark.parametrize(("value", "plain"), [
    ({Status.PAID: 1}, {"p": 1}), ({OldStatus.PAID: 1}, {"p": 1}), ({Level.LOW: 1}, {1: 1}),
    ({Point(1, 2): 1}, {(1, 2): 1}), ({Right.READ | Right.WRITE: 1}, {3: 1}),
    ({Status.PAID, Level.LOW}, {"p", 1}), (frozenset([Point(1, 2)]), frozenset([(1, 2)])),
])
def test_keys_and_elements_have_the_bytes_of_their_plain_values(value: Any, plain: Any) -> None:
    assert encode_value(value) == encode_value(plain)
    assert same(decode_value(encode_value(value)), plain)


def test_django_s_choices_and_lazy_strings_become_plain() -> None:
    class Paid(TextChoices):
        YES = "y", "Yes"

    class Count(IntegerChoices):
        ONE = 1, "One"

    decoded = decode_value(encode_value({Paid.YES: Count.ONE, "labels": [lazystr("Yes")]}))
    assert same(decoded, {"y": 1, "labels": ["Yes"]})


def test_lazy_strings_become_text() -> None:
    assert decode_value(encode_value({"m": Promise()})) == {"m": "translated"}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Text("x"), "x"),
        (Token(a=1), {"a": 1}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (bytearray(b"x"), b"x"),
        (Frozen(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)),
    ],
)
def test_subclasses_become_plain(value: object, plain: object) -> None:
    decoded = decode_value(encode_value([value]))
    assert same(decoded, [plain])


def test_a_zone_is_kept_as_its_offset() -> None:
    moment = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    decoded = decode_value(encode_value(moment))
    assert isinstance(decoded, datetime)
    assert decoded.isoformat() == "2024-10-27T02:30:00+01:00"
    assert decoded == moment.astimezone(UTC)


def test_an_error_does_not_spoil_the_next_encoding() -> None:
    with pytest.raises(UnserializableValue):
        encode_value(["some text", Thing()])
    assert decode_value(encode_value("next")) == "next"


def test_extension_codes_never_change() -> None:
    # Golden bytes: sessions of running clusters are stored like this.
    assert encode_value((1,)).hex() == "d5019101"
    assert encode_value({1}).hex() == "d5029101"
    assert encode_value(frozenset({1})).hex() == "d5039101"
    assert encode_value(2**64).hex() == "c70904" + "010000000000000000"
    assert encode_value(Decimal("1.5")).hex() == "c70305" + b"1.5".hex()
    naive = datetime(2024, 1, 2)  # noqa: DTZ001
    assert encode_value(naive).hex() == "c71306" + b"2024-01-02T00:00:00".hex()
    assert encode_value(date(2024, 1, 2)).hex() == "c70a07" + b"2024-01-02".hex()
    assert encode_value(time(1, 2)).hex() == "d708" + b"01:02:00".hex()
    assert encode_value(timedelta(1, 2, 3)).hex() == "c70c09" + "000000010000000200000003"
    assert encode_value(UUID(int=1)).hex() == "d80a" + "0" * 31 + "1"
    assert encode_value(Markup("a")).hex() == "d40b61"


@pytest.mark.parametrize("depth", [2, 20])
def test_a_deadline_is_read_once(depth: int) -> None:
    """Each level would cost the decoder's C stack as much as one of tuples."""
    data = encode_value(["otp"])
    assert decode_value(expiring(data, 5)) == ["otp"]
    for _ in range(depth):
        data = expiring(data, 5)
    with pytest.raises(WireError):
        decode_value(data)
    with pytest.raises(WireError):
        decode_value(msgpack.packb([msgpack.ExtType(14, bytes(8) + b"\x01")]))


def test_a_value_as_deep_as_any_can_have_a_deadline() -> None:
    value: object = 1
    for _ in range(16):
        value = (value,)
    assert decode_value(expiring(encode_value(value), 5)) == value
