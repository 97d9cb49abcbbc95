"""What follows from a stored copy is worked out once, and shared only if it cannot change."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.state import (
    IDLE_TIMEOUT,
    LIFETIME,
    LOCAL_PREFIX,
    Change,
    Register,
    SessionState,
    apply_change,
)
from clustersession.session.changes import UNLOADED, AttributeChanges, Original
from clustersession.session.stored import (
    StoredAttributes,
    follow,
    stored_attributes,
    stored_values,
)
from clustersession.wire.values import encode_value

NOW_MS = 1_800_000_000_000


def state(**values: object) -> SessionState:
    registers = {
        name: Register(1, b"nodenode", 1, None if value is None else encode_value(value))
        for name, value in values.items()
    }
    return SessionState(NOW_MS, NOW_MS, NOW_MS + 10**9, registers, {b"nodenode": 1})


def test_the_same_copy_has_the_same_answer_and_nothing_is_decoded_for_it() -> None:
    copy = state(user="ann", cart=[1], gone=None)
    found = stored_attributes(copy)
    assert stored_attributes(copy) is found
    assert found.values == {"user": UNLOADED, "cart": UNLOADED}


def test_what_was_decoded_of_the_copy_before_serves_the_next_if_its_bytes_are_the_same() -> None:
    before = state(user="ann", n=1)
    for name, value in (("user", "ann"), ("n", 1)):
        data = before.registers[name].value
        assert data is not None
        stored_attributes(before).share(name, Original(value, data))
    newer = replace(before, registers={
        **before.registers, "n": Register(2, b"nodenode", 2, encode_value(2)),
    })
    assert stored_attributes(newer, before).values == {"user": "ann", "n": UNLOADED}


@given(
    held=st.dictionaries(st.sampled_from("abcd"), st.none() | st.integers(0, 9)),
    sets=st.dictionaries(st.sampled_from(["a", "b", "c", "d", "_permanent"]), st.integers(0, 9)),
    deletes=st.lists(st.sampled_from("abcd"), max_size=1),
    idle=st.sampled_from([None, b"60000", b"0"]), later_ms=st.integers(0, 9),
)
def test_what_follows_from_a_change_is_what_follows_from_the_whole_copy(
    held: dict[str, int | None], sets: dict[str, int], deletes: list[str], idle: bytes | None,
    later_ms: int,
) -> None:
    before = state(**held)
    if idle is not None:
        registers = {IDLE_TIMEOUT: Register(1, b"nodenode", 1, idle), **before.registers}
        before = replace(before, registers=registers)
    changes = AttributeChanges(
        {name: encode_value(value) for name, value in sets.items()},
        tuple(name for name in deletes if name not in sets),
    )
    change = Change("key", NOW_MS + later_ms, changes.sets, changes.deletes)
    after = apply_change(before, change, time=2, node=b"nodenode", seq=2)
    assert after is not None
    whole = StoredAttributes(after, stored_attributes(before))
    follow(stored_attributes(before), before, after, changes)
    for name in StoredAttributes.__slots__:
        assert getattr(stored_attributes(after, before), name) == getattr(whole, name)
    assert list(stored_attributes(after).values) == list(whole.values)


def test_a_value_of_other_bytes_is_not_shared() -> None:
    found = stored_attributes(state(n=1))
    found.share("n", Original(2, encode_value(2)))
    found.share("new", Original(2, encode_value(2)))
    assert found.values == {"n": UNLOADED}


def test_local_attributes_stand_under_their_own_names() -> None:
    found = stored_attributes(state(a=1, **{f"{LOCAL_PREFIX}draft": "d"}))
    assert found.holds_local
    assert set(found.values) == {"a", "draft"}
    assert not stored_attributes(state(a=1)).holds_local


def test_a_session_owes_an_access_before_it_would_expire_and_none_if_it_never_does() -> None:
    assert stored_attributes(state()).touch_due_ms is None
    registers = {IDLE_TIMEOUT: Register(1, b"nodenode", 1, b"60000")}
    due_ms = stored_attributes(replace(state(), registers=registers)).touch_due_ms
    assert due_ms is not None
    assert NOW_MS < due_ms < NOW_MS + 60_000


def test_deleted_ones_do_not_count() -> None:
    copy = state(a=1, gone=None)
    assert set(stored_values(copy)) == {"a"}
    assert stored_attributes(copy).data_bytes == 1 + len(encode_value(1))
    assert not stored_attributes(copy).outlives_browser
    assert stored_attributes(state(**{LIFETIME: 60})).outlives_browser
