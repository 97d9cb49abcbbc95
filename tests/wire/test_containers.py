"""Containers of other classes are what they read as."""

from collections import namedtuple
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from starlette.datastructures import FormData
from werkzeug.datastructures import MultiDict

from clustersession.core.errors import UnserializableValue
from clustersession.wire.collisions import EQUAL_HASHES_MAX
from clustersession.wire.containers import is_multi_dict, plain_container
from clustersession.wire.values import encode_value

Point = namedtuple("Point", "x y")


class Hidden(dict[int, str]):
    """Reads as something else than what it holds."""

    def __init__(self, keys: list[int]) -> None:
        super().__init__()
        self._keys = keys

    def items(self) -> Any:
        return [(key, "text") for key in self._keys]


class Form(Mapping[int, str]):
    def __init__(self, keys: list[int]) -> None:
        self._keys = keys

    def __getitem__(self, key: int) -> str:
        return "text"

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def getlist(self, key: int) -> list[str]:
        return ["text"]


@pytest.mark.parametrize(("value", "plain"), [
    (MultiDict([("a", 1), ("a", 2)]), {"a": 1}),
    (FormData([("a", "1"), ("a", "2")]), {"a": "2"}),
    (Point(1, 2), [1, 2]),
    (Hidden([1]), {1: "text"}),
])  # fmt: skip
def test_a_container_is_what_it_reads_as(value: object, plain: object) -> None:
    assert plain_container(value) == plain
    assert type(plain_container(value)) is type(plain)


@pytest.mark.parametrize("value", [{"a": 1}, [1], (1,), {1}, "text", MappingProxyType({})])
def test_all_else_comes_back_itself(value: object) -> None:
    assert plain_container(value) is value


def test_a_mapping_with_one_value_for_each_key_is_no_multi_dict() -> None:
    assert is_multi_dict(FormData)
    assert not is_multi_dict(MappingProxyType)
    with pytest.raises(UnserializableValue, match="mappingproxy"):
        encode_value(MappingProxyType({"a": 1}))


@pytest.mark.parametrize("kind", [Hidden, Form])
def test_keys_of_one_hash_are_found_in_what_a_container_reads_as(kind: Any) -> None:
    """Else it would be written, and could not be read."""
    keys = [(number + 8) * (2**61 - 1) for number in range(EQUAL_HASHES_MAX * 2)]
    with pytest.raises(UnserializableValue, match="elements of one hash"):
        encode_value(kind(keys))
