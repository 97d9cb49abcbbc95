"""Messages: what goes in comes out, and whatever else comes in is a WireError."""

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustersession.core.digest import BUCKETS
from clustersession.core.errors import OtherVersion, WireError
from clustersession.core.feed import Batch, Cursor
from clustersession.core.identity import Address, Identity, Phase
from clustersession.core.state import Delta
from clustersession.wire import messages as m
from clustersession.wire.fields import Entry
from tests.wire.drawn import nodes, numbers, states

keys = st.text("abcXYZ019_-", min_size=1, max_size=40)

flags = st.booleans()

cursors = st.builds(Cursor, numbers, numbers, st.just(0))

addresses = st.builds(
    Address, st.ip_addresses().map(str), st.integers(1, 65535)
)

identities = st.builds(
    Identity, nodes, numbers, st.text("abc_019", min_size=1, max_size=32), addresses
)

deltas = st.builds(Delta, keys, states, flags)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    after, upto, head = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return Batch(
        draw(nodes), draw(numbers), after, upto, draw(st.sampled_from((upto, head))),
        draw(st.lists(deltas, max_size=4)),
    )


def few(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=4).map(tuple)


sessions = few(st.tuples(keys, states))

entries = st.builds(Entry, keys, st.dictionaries(nodes, numbers, max_size=4), numbers)

vectors = st.dictionaries(nodes, numbers, max_size=4)

places = st.text("ab1", max_size=40)

messages: st.SearchStrategy[m.Message] = st.one_of(
    st.builds(m.Hello, numbers, st.text(max_size=64), identities),
    st.builds(
        m.Heartbeat, identities, numbers, st.sampled_from(Phase), flags, numbers, numbers, numbers,
        st.dictionaries(nodes, cursors, max_size=4), few(nodes), few(st.tuples(nodes, numbers)),
        few(addresses), flags, flags,
    ),
    st.builds(m.Changes, batches(), flags),
    st.builds(m.Progress, cursors, flags, flags, numbers),
    st.builds(m.Fetch, keys, st.none() | vectors, numbers),
    st.builds(m.Fetched, keys, st.none() | states, st.none() | vectors),
    st.builds(m.SnapshotRequest, places),
    st.builds(
        m.SnapshotPageMessage, places, sessions, places, flags,
        st.dictionaries(nodes, cursors, max_size=4), numbers,
    ),
    st.builds(m.Digests, st.integers(0, 2**64 - 1), st.binary(max_size=64)),
    st.builds(m.Listing, few(st.integers(0, BUCKETS - 1)), few(entries), flags),
    st.builds(m.SessionsRequest, few(keys)),
    st.builds(m.Sessions, sessions),
    st.builds(m.Ping, numbers),
    st.builds(m.Pong, numbers),
    st.builds(m.ProbeRequest, nodes),
    st.builds(m.ProbeReply, nodes, flags),
    st.builds(m.DirectChange, batches(), numbers),
    st.builds(m.DirectAnswer, nodes, numbers, flags),
)


def parses_or_raises(data: bytes) -> None:
    try:
        message = m.decode_message(data)
    except WireError:
        return
    m.decode_message(m.encode_message(message))


@settings(max_examples=300, deadline=None)
@given(messages)
def test_what_goes_in_comes_out(message: m.Message) -> None:
    assert m.decode_message(m.encode_message(message)) == message


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_parse_or_raise(data: bytes) -> None:
    parses_or_raises(data)


@settings(max_examples=300, deadline=None)
@given(messages, st.data())
def test_truncated_and_mutated_messages_parse_or_raise(
    message: m.Message, data: st.DataObject
) -> None:
    encoded = bytearray(m.encode_message(message))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    parses_or_raises(bytes(encoded))
    cut = data.draw(st.integers(0, len(encoded) - 1))
    parses_or_raises(bytes(encoded[:cut]))


plain = st.recursive(
    st.none() | flags | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary(max_size=9)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=5)
    | st.dictionaries(st.text(max_size=2) | st.integers(0, 9), inner, max_size=2),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 18), st.lists(plain, max_size=13))
def test_well_formed_nonsense_parses_or_raises(number: int, parts: list[Any]) -> None:
    parses_or_raises(msgpack.packb([number, *parts]))


def test_no_message_has_a_map_whose_keys_a_peer_can_make_collide() -> None:
    """Hashes of text and bytes are salted; those of numbers and of msgpack's timestamps are not."""
    with pytest.raises(WireError, match="not a message: ValueError"):
        m.decode_message(msgpack.packb([1, {2**61 - 1: None}]))
    with pytest.raises(WireError, match="not a message: ValueError"):
        m.decode_message(msgpack.packb([1, {msgpack.Timestamp(1, 1): None}]))


@settings(max_examples=300, deadline=None)
@given(messages)
def test_what_somebody_waits_for_overtakes_parts_of_feeds_and_nothing_else(
    message: m.Message,
) -> None:
    data = m.encode_message(message)
    urgent = isinstance(message, m.Progress | m.DirectChange | m.DirectAnswer)
    assert m.overtakes(data) is urgent
    assert m.may_be_overtaken(data) is isinstance(message, m.Changes)


def test_what_is_no_message_overtakes_nothing() -> None:
    for data in (b"", b"\x04", b"\x94"):
        assert not m.overtakes(data)
        assert not m.may_be_overtaken(data)


def test_a_hello_of_no_version_is_a_question() -> None:
    asker = Identity(b"n" * 8, 0, "b", Address("10.0.0.1", 1))
    asked = m.decode_message(m.encode_message(m.Hello(m.QUESTION_VERSION, "shop", asker, 0)))
    assert isinstance(asked, m.Hello)
    with pytest.raises(OtherVersion, match=m.QUESTION):
        m.check_version(asked)
