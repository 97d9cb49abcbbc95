"""Large collections made to cost much are read, changed and stored in proportion to their size."""

from collections.abc import Callable, Iterator

import pytest

from clustersession.core.elements import DICT, LIST, SET, SUM, group_of
from clustersession.core.state import Register, SessionState
from clustersession.wire.records import encode_state
from tests.fuzzing.campaign import all_targets, replay

TARGET = all_targets()["session.collections"]
NODE = b"nodenode"
COUNT = 6_000

Element = tuple[str, bytes]


def element(number: int, content: bytes, order: bytes = b"") -> bytes:
    head = number.to_bytes(8, "big") + NODE + bytes(2) + len(order).to_bytes(2, "big")
    return head + order + content


def all_the_same() -> Iterator[Element]:
    for number in range(COUNT):
        yield f"{group_of(LIST, 'x')}n.{number}", element(number, b"\x01")


def in_one_place() -> Iterator[Element]:
    for number in range(COUNT):
        yield f"{group_of(LIST, 'x')}n.{number}", element(0, b"%c" % (number % 128), b"\x01")


def with_long_orders() -> Iterator[Element]:
    for number in range(16):
        order = bytes(60_000) + bytes((number,))
        yield f"{group_of(LIST, 'x')}n.{number}", element(number, b"\x01", order)


def one_key() -> Iterator[Element]:
    for number in range(COUNT):
        content = b"\x00\x00\x00\x01\x01" + b"%c" % (number % 128)
        yield f"{group_of(DICT, 'x')}n.{number}", element(number, content)


def one_hash() -> Iterator[Element]:
    for number in range(COUNT // 4):
        content = b"\xcf" + ((number + 1) * (2**61 - 1) % 2**64).to_bytes(8, "big")
        yield f"{group_of(SET, 'x')}n.{number}", element(number, content)


def an_attribute_each() -> Iterator[Element]:
    for number in range(COUNT // 2):
        yield f"{group_of(LIST, f'x{number}')}n", element(number, b"\x01")


def of_all_kinds_by_turns() -> Iterator[Element]:
    for number in range(COUNT):
        kind = (LIST, SET, DICT, SUM)[number % 4]
        yield f"{group_of(kind, 'x')}n.{number}", b"1" if kind == SUM else element(number, b"\x01")


def sums_of_many_nodes() -> Iterator[Element]:
    for number in range(COUNT):
        yield f"{group_of(SUM, 'x')}n.{number}", b"9" * 40


BOMBS = [
    all_the_same, in_one_place, with_long_orders, one_key, one_hash, an_attribute_each,
    of_all_kinds_by_turns, sums_of_many_nodes,
]


@pytest.mark.parametrize("marker", ["l", ""])
@pytest.mark.parametrize("elements", BOMBS)
def test_a_large_collection_costs_in_proportion_to_its_size(
    elements: Callable[[], Iterator[Element]], marker: str
) -> None:
    registers = {
        name: Register(number, NODE, 1, value)
        for number, (name, value) in enumerate(elements(), 1)
    }
    if marker:
        registers["x"] = Register(COUNT, NODE, 1, b"\xd4\x0d" + marker.encode())
    assert replay(TARGET, encode_state(SessionState(1, 1, 2**40, registers, {NODE: 1})))
