"""What a request did to its values is found by their bytes, and nothing else is written."""

import pytest

from clustersession.core.errors import SessionTooLarge, UnserializableValue
from clustersession.core.state import LOCAL_PREFIX, PRINCIPAL, Register
from clustersession.session.changes import (
    NO_CHANGES,
    UNLOADED,
    AttributeChanges,
    Original,
    find_changes,
    visible_values,
)
from clustersession.wire.values import encode_value

LIMIT = 1000


def originals(**values: object) -> dict[str, Original]:
    return {name: Original(value, encode_value(value)) for name, value in values.items()}


def test_a_list_that_was_appended_to_is_a_change_and_an_equal_one_is_none() -> None:
    cart = ["tea"]
    before = originals(cart=cart, user="ann")
    assert find_changes({"cart": ["tea"], "user": "ann"}, before, LIMIT) is NO_CHANGES
    cart.append("milk")
    changes = find_changes({"cart": cart, "user": "ann"}, before, LIMIT)
    assert changes == AttributeChanges({"cart": encode_value(["tea", "milk"])})


def test_values_that_python_takes_for_equal_are_not() -> None:
    changes = find_changes({"n": True, "m": 1.0}, originals(n=1, m=1), LIMIT)
    assert set(changes.sets) == {"n", "m"}


def test_what_is_gone_is_deleted_and_what_nobody_asked_for_stays() -> None:
    changes = find_changes({"waiting": UNLOADED}, originals(waiting=[1], gone=2), LIMIT)
    assert changes == AttributeChanges({}, ("gone",))


def test_one_that_is_too_large_or_cannot_be_kept_is_named() -> None:
    find_changes({"a": "x" * (LIMIT - 10)}, {}, LIMIT)
    with pytest.raises(SessionTooLarge, match=r"session\['a'\].*attribute_bytes_max is 1000"):
        find_changes({"a": "x" * LIMIT}, {}, LIMIT)
    with pytest.raises(UnserializableValue, match=r"session\['b'\]"):
        find_changes({"b": object()}, {}, LIMIT)


def test_an_application_sees_its_own_attributes_and_the_local_one_of_two() -> None:
    def register(value: bytes | None) -> Register:
        return Register(1, b"nodenode", 1, value)

    assert visible_values({
        "a": register(b"1"), "gone": register(None), PRINCIPAL: register(b"ann"),
        "draft": register(b"shared"), f"{LOCAL_PREFIX}draft": register(b"local"),
        f"{LOCAL_PREFIX}gone": register(None),
    }) == {"a": b"1", "draft": b"local"}
