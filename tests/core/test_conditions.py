"""On what a commit depends: an attribute has the value that is expected, or is not there."""

import pytest

from clustersession.core.conditions import ExpectedValue
from clustersession.core.elements import LIST, SEEN_SUM, group_of
from clustersession.core.expiring_values import expiring
from clustersession.core.state import LOCAL_PREFIX, Change, Register, SessionState, apply_change
from clustersession.wire.values import encode_value

NODE = b"nodenode"


def of(value: bytes | None) -> Register:
    return Register(1, NODE, 1, value)


@pytest.mark.parametrize(("registers", "value", "holds"), [
    ({"a": of(b"1")}, b"1", True),
    ({"a": of(b"1")}, b"2", False),
    ({"a": of(b"1")}, None, False),
    ({"a": of(None)}, None, True),
    ({"a": of(encode_value(None))}, None, True),
    ({"a": of(None)}, b"1", False),
    ({}, None, True),
    ({"b": of(b"1")}, b"1", False),
    ({LOCAL_PREFIX + "a": of(b"1"), "a": of(b"2")}, b"1", True),
    ({LOCAL_PREFIX + "a": of(None), "a": of(b"2")}, b"2", True),
    ({group_of(LIST, "a") + "x": of(b"element")}, None, False),
    ({group_of(LIST, "a") + "x": of(None)}, None, True),
    ({group_of(LIST, "b") + "x": of(b"element")}, None, True),
    ({group_of(SEEN_SUM, "a") + "x": of(b"1")}, None, True),
    ({"a": of(expiring(b"1", 51))}, b"1", True),
    ({"a": of(expiring(b"1", 50))}, b"1", False),
    ({"a": of(expiring(b"1", 50))}, None, True),
    ({LOCAL_PREFIX + "a": of(expiring(b"1", 50)), "a": of(b"2")}, b"2", True),
])
def test_what_is_expected(
    registers: dict[str, Register], value: bytes | None, holds: bool
) -> None:
    assert ExpectedValue("a", value, 50).holds(registers) is holds


@pytest.mark.parametrize(("expected", "written"), [(b"1", b"2"), (b"0", None)])
def test_a_change_has_no_effect_without_its_condition(
    expected: bytes, written: bytes | None
) -> None:
    current = SessionState(0, 0, 10, {"a": of(b"1")}, {NODE: 1})
    change = Change("k", 0, {"a": b"2"}, condition=ExpectedValue("a", expected, 0))
    after = apply_change(current, change, time=2, node=NODE, seq=2)
    assert (None if after is None else after.registers["a"].value) == written
