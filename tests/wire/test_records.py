"""Records come back as they went in, and malformed ones raise WireError and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustersession.core.errors import SessionTooLarge, WireError
from clustersession.core.feed import Batch
from clustersession.core.state import Delta, Ended, Register, SessionState
from clustersession.wire import records
from clustersession.wire.records import (
    INTEGER_MAX,
    KEY_LENGTH_MAX,
    NAME_LENGTH_MAX,
    batch_to_plain,
    decode_batch,
    decode_copy,
    decode_delta,
    decode_state,
    encode_batch,
    encode_delta,
    encode_state,
    state_from_plain,
    state_to_plain,
)

integers = st.integers(0, INTEGER_MAX)
nodes = st.binary(min_size=8, max_size=8)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
keys = st.text(st.characters(max_codepoint=127), min_size=1, max_size=KEY_LENGTH_MAX)
registers = st.builds(Register, integers, nodes, integers, st.none() | st.binary(max_size=50))
versions = st.dictionaries(nodes, integers, max_size=5)
live = st.builds(
    SessionState, integers, integers, integers, st.dictionaries(text, registers, max_size=6),
    versions, st.none(),
)
dead = st.builds(
    SessionState, integers, integers, integers, st.just({}), versions,
    st.builds(Ended, integers, nodes, text),
)
states = live | dead
deltas = st.builds(Delta, keys, states, st.booleans())


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    after, upto, head = sorted(draw(st.tuples(integers, integers, integers)))
    return Batch(
        draw(nodes), draw(integers), after, upto, draw(st.sampled_from((upto, head))),
        draw(st.lists(deltas, max_size=3)),
    )


@given(states)
def test_a_state_comes_back(state: SessionState) -> None:
    assert decode_state(encode_state(state)) == state
    assert decode_state(memoryview(encode_state(state))) == state
    assert state_from_plain(state_to_plain(state)) == state


@given(deltas)
def test_a_delta_comes_back(delta: Delta) -> None:
    assert decode_delta(encode_delta(delta)) == delta


@given(batches())
def test_a_batch_comes_back(batch: Batch) -> None:
    assert decode_batch(encode_batch(batch)) == batch


def test_a_copy_that_is_passed_on_keeps_its_bytes_and_nothing_unknown() -> None:
    state = SessionState(1, 2, 3, {"a": Register(4, b"n" * 8, 5, b"v")}, {b"n" * 8: 5})
    data = encode_state(state)
    copy = decode_copy(data)
    assert copy == state
    assert encode_state(copy) is data
    assert encode_state(copy) == data, "without the bytes, which are kept for one use"
    later = _packed([*msgpack.unpackb(data), "of a later version"])
    assert decode_copy(later) == state
    assert encode_state(decode_copy(later)) == data
    ended = replace(state, registers={}, ended=Ended(4, b"n" * 8, "invalidated"))
    assert encode_state(decode_copy(encode_state(ended))) == encode_state(ended)
    with pytest.raises(WireError):
        decode_copy(b"\x90")


DECODERS: list[Callable[[bytes], object]] = [decode_copy, decode_state, decode_delta, decode_batch]
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats()
    | st.text(max_size=3) | st.binary(max_size=9)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=3)),
    lambda inner: st.lists(inner, max_size=10)
    | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


def decode_or_refuse(decode: Callable[[bytes], object], data: bytes) -> object:
    try:
        return decode(data)
    except WireError:
        return None


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_in_order(data: bytes) -> None:
    for decode in DECODERS:
        decode_or_refuse(decode, data)


@given(anything)
def test_arbitrary_structures_are_refused_in_order(plain: object) -> None:
    data = _packed(plain)
    for decode in DECODERS:
        decode_or_refuse(decode, data)


@given(batches(), st.data())
@settings(max_examples=200)
def test_mutated_and_cut_batches_are_refused_or_valid(batch: Batch, data: st.DataObject) -> None:
    whole = encode_batch(batch)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(WireError):
        decode_batch(whole[:cut])
    with pytest.raises(WireError):
        decode_batch(whole + b"\x00")
    place = data.draw(st.integers(0, len(whole) - 1))
    mutated = bytearray(whole)
    mutated[place] ^= data.draw(st.integers(1, 255))
    decoded = decode_or_refuse(decode_batch, bytes(mutated))
    if isinstance(decoded, Batch):
        assert decode_batch(encode_batch(decoded)) == decoded


@given(states, st.data())
@settings(max_examples=200)
def test_a_part_replaced_is_refused_or_valid(state: SessionState, data: st.DataObject) -> None:
    plain = state_to_plain(state)
    plain[data.draw(st.integers(0, len(plain) - 1))] = data.draw(anything)
    decoded = decode_or_refuse(decode_state, _packed(plain))
    if isinstance(decoded, SessionState):
        assert decode_state(encode_state(decoded)) == decoded


def _packed(plain: object) -> bytes:
    packed: bytes = msgpack.packb(plain)
    return packed


NODE = b"node-aaa"


def plain_state(**parts: Any) -> list[Any]:
    whole = {
        "format": 1, "created": 1, "accessed": 2, "deadline": 3, "nodes": [NODE],
        "versions": [0, 5], "registers": ["a", 7, 0, 5, b"v"], "ended": None,
    }
    return list((whole | parts).values())


def test_the_example_is_sound() -> None:
    assert state_from_plain(plain_state()) == SessionState(
        1, 2, 3, {"a": Register(7, NODE, 5, b"v")}, {NODE: 5}
    )


@pytest.mark.parametrize(
    "parts",
    [
        {"format": 2}, {"format": True}, {"format": b"1"},
        {"created": -1}, {"created": 2**63}, {"created": True}, {"created": 1.0},
        {"accessed": None}, {"deadline": "3"},
        {"nodes": [b"short"]}, {"nodes": [NODE + b"x"]}, {"nodes": ["node-aaa"]}, {"nodes": None},
        {"nodes": [NODE] * (2 * records.NODES_MAX + 1)}, {"nodes": []},
        {"versions": [0]}, {"versions": [1, 5]}, {"versions": [-1, 5]}, {"versions": [0, -1]},
        {"versions": [0, 2**63]}, {"versions": [False, 5]}, {"versions": {}},
        {"versions": [0, 5] * (records.NODES_MAX + 1)},
        {"registers": ["a", 7, 0, 5]}, {"registers": [b"a", 7, 0, 5, b"v"]},
        {"registers": ["a", -1, 0, 5, b"v"]}, {"registers": ["a", 2**63, 0, 5, b"v"]},
        {"registers": ["a", 7, 1, 5, b"v"]}, {"registers": ["a", 7, -1, 5, b"v"]},
        {"registers": ["a", 7, 0, -5, b"v"]}, {"registers": ["a", 7, 0, 2**63, b"v"]},
        {"registers": ["a", 7, 0, 5, "v"]}, {"registers": ["a", True, 0, 5, b"v"]},
        {"registers": ["n" * (NAME_LENGTH_MAX + 1), 7, 0, 5, b"v"]}, {"registers": "abcde"},
        {"ended": [7, 0, "why"]},
        {"registers": [], "ended": [7, 1, "why"]}, {"registers": [], "ended": [-7, 0, "why"]},
        {"registers": [], "ended": [7, 0, b"why"]}, {"registers": [], "ended": [7, 0, "w" * 65]},
        {"registers": [], "ended": [7, 0]}, {"registers": [], "ended": True},
    ],
)
def test_wrong_parts_are_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        state_from_plain(plain_state(**parts))


def test_too_many_registers_are_refused_both_ways() -> None:
    count = records.REGISTERS_MAX + 1
    with pytest.raises(WireError):
        state_from_plain(plain_state(registers=["a", 7, 0, 5, b"v"] * count))
    register = Register(7, NODE, 5, b"")
    with pytest.raises(SessionTooLarge):
        encode_state(SessionState(1, 2, 3, {str(n): register for n in range(count)}))


def test_a_name_too_long_to_be_read_is_not_written() -> None:
    name = "n" * (NAME_LENGTH_MAX + 1)
    with pytest.raises(SessionTooLarge, match="nnn"):
        encode_state(SessionState(1, 2, 3, {name: Register(7, NODE, 5, b"")}))


@pytest.mark.parametrize("key", ["", "k" * (KEY_LENGTH_MAX + 1), "ké", b"k", None])
def test_wrong_keys_are_refused(key: object) -> None:
    with pytest.raises(WireError):
        records.delta_from_plain([key, True, plain_state()])


@pytest.mark.parametrize(
    "plain",
    [
        [2, NODE, 0, 0, 0, True, []], [1, b"x", 0, 0, 0, True, []], [1, NODE, 0, 2, 1, True, []],
        [1, NODE, -1, 0, 0, True, []], [1, NODE, 0, 0, 0, 1, []], [1, NODE, 0, 0, 0, True, None],
        [1, NODE, 0, 0, 0, True, [None]], [1, NODE, 0, 0, 0, True], None,
        [1, NODE, 0, 0, 0, True, [["k", 1, plain_state()]]],
    ],
)
def test_wrong_batches_are_refused(plain: object) -> None:
    with pytest.raises(WireError):
        records.batch_from_plain(plain)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(WireError):
        decode_state(b"\x91" * 100_000)


def test_records_stay_small() -> None:
    time = 1_763_800_000_000 << 16
    fields = {name: Register(time, NODE, 5, b"x") for name in ("aaaa", "bbbb", "cccc", "dddd")}
    state = SessionState(1_763_800_000_000, 1_763_800_000_000, 1_763_900_000_000, fields, {NODE: 5})
    assert len(encode_state(state)) < 140


def test_a_part_of_a_feed_that_does_not_say_where_the_head_was_is_no_more_than_that() -> None:
    part = Batch(b"node-aaa", 0, 0, 3, 7, [])
    assert decode_batch(encode_batch(part)) == part
    assert decode_batch(msgpack.packb(batch_to_plain(part)[:7])) == replace(part, head=4)
    for head in (3, -1, True, None):
        with pytest.raises(WireError):
            decode_batch(msgpack.packb([*batch_to_plain(part)[:7], head]))
