"""The types that merge are used like the built-in types that they stand for."""

import copy
import json
import operator
import pickle
from typing import Any

import pytest

from clustersession.wire.merging import Counter, MergingDict, MergingList, MergingSet
from clustersession.wire.values import decode_value, encode_value


@pytest.mark.parametrize(("value", "plain"), [
    (MergingList([1, "a"]), [1, "a"]), (MergingDict(a=1), {"a": 1}), (MergingSet({1}), {1}),
    (Counter(3), 3),
])  # fmt: skip
def test_each_is_the_plain_one_with_another_name(value: Any, plain: Any) -> None:
    assert value == plain
    assert isinstance(value, type(plain))
    for other in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert other == value
        assert type(other) is type(value)
    assert encode_value([value]) == encode_value([plain])
    assert type(decode_value(encode_value(value))) is type(plain)
    if not isinstance(plain, set):
        assert json.dumps(value) == json.dumps(plain)
        assert repr(value) == repr(plain)
        assert f"{value}" == f"{plain}"


def test_joining_two_keeps_the_type() -> None:
    for value, expected in (
        (operator.add(MergingList([1]), [2]), [1, 2]),
        (MergingDict(a=1) | {"b": 2}, {"a": 1, "b": 2}),
        (MergingSet({1}) | {2}, {1, 2}), (MergingSet({1, 2}) & {2}, {2}),
        (MergingSet({1, 2}) - {2}, {1}), (MergingSet({1, 2}) ^ {2, 3}, {1, 3}),
        (MergingList([1]).copy(), [1]), (MergingDict(a=1).copy(), {"a": 1}),
        (MergingSet({1}).copy(), {1}),
    ):
        assert value == expected
        assert type(value).__name__.startswith("Merging")
    for join in (lambda: operator.add(MergingList(), (1,)), lambda: MergingDict() | [1],
                 lambda: MergingSet() | [1]):
        with pytest.raises(TypeError):
            join()


def test_a_counter_goes_on_counting() -> None:
    assert not Counter(3).follows
    counter = Counter(3).following()
    assert counter.follows
    for value, expected in ((counter + 1, 4), (1 + counter, 4), (counter - 5, -2)):
        assert value == expected
        assert type(value) is Counter
        assert value.follows
    assert not (Counter(3) + 1).follows
    assert counter + 0.5 == 3.5
    assert type(counter + 0.5) is float
    assert type(int(counter)) is int
    assert type(counter * 2) is int
    with pytest.raises(TypeError):
        counter + "1"  # type: ignore[operator]
