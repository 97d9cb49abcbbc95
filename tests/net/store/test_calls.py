"""Whatever a store answers to a call is read, or is a WireError."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.errors import WireError
from clustersession.core.feed import START, Cursor
from clustersession.core.revocation import revocation_key
from clustersession.net.store.calls import StoreCalls
from clustersession.net.store.resp import ErrorReply
from clustersession.node.store_calls import (
    Beat,
    Beats,
    Damaged,
    Enter,
    Forget,
    IndexEntry,
    KeepCursor,
    Merge,
    Read,
    ReadIndex,
    StoreCall,
)
from clustersession.store.form import entry_of, fields_of, member_of
from clustersession.store.keys import StoreKeys
from clustersession.store.sealing import SealedNames
from clustersession.store.users import UserNames
from tests.net.store.owner import NODE, calls_of, state

CALLS = calls_of()
TAG, ENTRY = b"t" * 16, IndexEntry("k", (1, NODE, 1))
replies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5)
    | st.dictionaries(st.binary(max_size=5) | st.integers(), inner, max_size=5),
    max_leaves=12,
)


@given(
    st.sampled_from(
        [
            Merge("k", state(), True), Read("k"), KeepCursor(NODE, START), Beat(NODE, b"x"),
            Enter(TAG, ENTRY, 1), ReadIndex(TAG), Forget(TAG, [ENTRY]),
        ]
    ),
    replies | st.tuples(st.integers(), st.binary(), replies, st.lists(replies)).map(list),
)
def test_no_other_error_comes_of_any_answer(call: StoreCall, reply: Any) -> None:
    try:
        CALLS.answer(call, [reply])
    except WireError:
        pass


@pytest.mark.parametrize(
    ("kept", "cursor"),
    [
        (None, None), (b"1 2 3", Cursor(1, 2, 3)), (b"1 2", None), (b"1 2 3 4", None), (b"", None),
        (b"-1 2 3", None), (b"01 2 3", None), (b"1 2 x", None), (7, None), (b"1 2 3\n", None),
    ],
)  # fmt: skip
def test_cursors(kept: Any, cursor: Cursor | None) -> None:
    beats = CALLS.answer(Beat(NODE, b"x"), [[1, b"m" * 16, kept, [], None, b"e"]])
    assert isinstance(beats, Beats)
    assert beats.cursor == cursor


@pytest.mark.parametrize(
    ("kept", "carried", "cursor"),
    [
        (b"1 2 3", b"%016x" % 20, Cursor(1, 20, 3)), (b"1 20 3", b"%016x" % 2, Cursor(1, 20, 3)),
        (None, b"%016x" % 20, Cursor(0, 20)), (b"1 2 3", b"forged", Cursor(1, 2, 3)),
        (None, b"f" * 16, None),
    ],
)  # fmt: skip
def test_the_position_is_not_behind_what_was_carried(
    kept: Any, carried: Any, cursor: Cursor | None
) -> None:
    beats = CALLS.answer(Beat(NODE, b"x"), [[1, b"m" * 16, kept, [], carried, b"e"]])
    assert isinstance(beats, Beats)
    assert beats.cursor == cursor


def test_a_truth_value_is_no_answer_to_a_merge() -> None:
    """It is a number in Python."""
    with pytest.raises(WireError):
        CALLS.answer(Merge("k", state(), True), [True])


def both() -> StoreCalls:
    """The translation while one secret takes the place of another."""
    keys, secrets = StoreKeys("shop"), [b"n" * 32, b"o" * 32]
    names = SealedNames(secrets, "shop"), UserNames(keys, secrets, "shop")
    return StoreCalls(keys, *names, 300_000)


def test_what_an_older_secret_named_is_read_and_what_the_first_names_is_written() -> None:
    calls, old, new = both(), calls_of(b"o" * 32), calls_of(b"n" * 32)
    record = revocation_key(TAG)
    for read in (Read(record), ReadIndex(TAG), Forget(TAG, [ENTRY])):
        assert calls.keys_of(read) == [*new.keys_of(read), *old.keys_of(read)]
    for write in (Merge(record, state(), True), Enter(TAG, ENTRY, 1)):
        assert calls.keys_of(write) == new.keys_of(write)


def test_what_two_secrets_have_named_is_joined() -> None:
    calls = both()
    other = IndexEntry("l", (2, NODE, 2))
    replies = [[member_of(ENTRY)], [member_of(other), member_of(ENTRY), b"forged"]]
    assert calls.answer(ReadIndex(TAG), replies) == (ENTRY, other)
    record, one = revocation_key(TAG), state(b"1", at=1)
    flat = fields_of(record, one, calls.names)
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    assert calls.answer(Read(record), [{}, fields]) == one
    assert calls.answer(Read(record), [fields, fields]) == one
    assert calls.answer(Read(record), [{}, {}]) is None
    # Somebody was logged out, whatever stands under the other name.
    for replies in ([fields, ErrorReply("WRONGTYPE")], [ErrorReply("WRONGTYPE"), fields]):
        assert calls.answer(Read(record), replies) == one
    assert calls.answer(Read(record), [{}, ErrorReply("WRONGTYPE")]) == Damaged()
    assert calls.answer(ReadIndex(TAG), [[], ErrorReply("WRONGTYPE")]) == Damaged()


def test_names_that_have_changed_are_those_of_sessions_and_records() -> None:
    calls = calls_of()
    [index], [record] = calls.keys_of(ReadIndex(TAG)), calls.keys_of(Read(revocation_key(TAG)))
    names = [calls.keys.session("k"), record, index, calls.keys.members, 7]
    assert calls.changed(names) == {"k", revocation_key(TAG)}
    # Whose record it is nobody knows: it may be anybody's.
    assert calls_of().changed(names) is None
    assert calls.changed([index]) == frozenset()


def test_an_entry_is_read_as_it_was_written() -> None:
    for key in ("k" * 23, "\udc80", ".a:b", ""):
        entry = IndexEntry(key, (2**62, NODE, 7))
        assert entry_of(member_of(entry)) == entry
    for member in (b"", b"0" * 47, b"x" * 48, b"0" * 48 + b"\xff"):
        with pytest.raises(WireError):
            entry_of(member)
