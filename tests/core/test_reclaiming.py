"""What has expired becomes the same deletion on every node, and beats nothing written since."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.digest import entry_hash
from clustersession.core.expiring_values import expiring, until_of
from clustersession.core.placement import owner
from clustersession.core.reclaiming import (
    NEVER_MS,
    PLACE_MAX,
    is_told_by,
    next_expiry_ms,
    note_that_none_expires,
    untils,
    without_expired,
)
from clustersession.core.state import (
    LOCAL_PREFIX,
    PRINCIPAL,
    Change,
    Ended,
    Register,
    SessionState,
    delta_since,
    merge,
    moved,
    redated,
    reissue,
)

NODES = [b"node-aaa", b"node-bbb"]
NAMES = ["a", "b", LOCAL_PREFIX + "c"]
VALUES = [b"plain", None, *(expiring(b"%d" % until_ms, until_ms) for until_ms in range(1, 6))]


def register_of(name: str, time: int, node: bytes) -> Register:
    """The one write that a node can have made to an attribute at a time."""
    kind = (time * 3 + NODES.index(node) * 5 + NAMES.index(name)) % len(VALUES)
    return Register(time, node, time * 10, VALUES[kind])


@st.composite
def states(draw: Any) -> SessionState:
    stamps = st.tuples(st.integers(1, 12), st.sampled_from(NODES))
    written = draw(st.dictionaries(st.sampled_from(NAMES), stamps))
    registers = {name: register_of(name, *stamp) for name, stamp in written.items()}
    versions = draw(st.dictionaries(st.sampled_from(NODES), st.integers(1, 99)))
    if draw(st.integers(0, 9)) == 0:
        return SessionState(1, 1, 9, {}, versions, Ended(1, NODES[0], "invalidated"))
    return SessionState(1, 1, 9, registers, versions)


times = st.integers(0, 6)


@given(states(), states(), states(), times, times, times)
def test_copies_that_have_expired_in_part_still_merge_as_a_join(
    a: SessionState, b: SessionState, c: SessionState, ta: int, tb: int, tc: int
) -> None:
    a, b, c = without_expired(a, ta), without_expired(b, tb), without_expired(c, tc)
    assert merge(a, a) == a
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))


@given(states(), states(), times, times, times)
def test_whoever_reclaims_first_all_come_to_the_same(
    a: SessionState, b: SessionState, ta: int, tb: int, now: int
) -> None:
    """Any node at any time, or none, before or after the merge."""
    now = max(now, ta, tb)
    expected = without_expired(merge(a, b), now)
    early = merge(without_expired(a, ta), without_expired(b, tb))
    assert without_expired(early, now) == expected
    assert without_expired(expected, now) is expected
    assert merge(expected, a) == merge(expected, early) == expected


@given(states(), times, times)
def test_deletions_are_the_next_thing_after_the_value(
    state: SessionState, now: int, time: int
) -> None:
    """A write that wins over the value wins over its deletion: there is nothing between them."""
    after = without_expired(state, now)
    for name, value in state.registers.items():
        for node in NODES:
            if (time, node) <= value[:2]:
                continue
            write = SessionState(1, 1, 9, {name: Register(time, node, 1, b"newer")}, {})
            assert merge(after, write).registers[name].value == b"newer"


@given(states(), times)
def test_what_counts_stays_and_the_version_too(state: SessionState, now: int) -> None:
    after = without_expired(state, now)
    for name, register in state.registers.items():
        until_ms = None if register.value is None else until_of(register.value)
        if until_ms is not None and until_ms <= now:
            assert after.registers[name].value is None
        else:
            assert after.registers[name] is register
    assert entry_hash("k", after.versions) == entry_hash("k", state.versions)
    assert next_expiry_ms(after) > now
    assert (after is state) == (next_expiry_ms(state) > now)


@given(states(), states())
def test_value_and_deadline_are_those_of_one_write(a: SessionState, b: SessionState) -> None:
    for name, register in merge(a, b).registers.items():
        assert register in (a.registers.get(name), b.registers.get(name))


def limited(**untils_ms: int) -> SessionState:
    registers = {
        name: Register(5, NODES[0], 7, expiring(b"1", until_ms))
        for name, until_ms in untils_ms.items()
    }
    return SessionState(1, 1, 9, registers, {NODES[0]: 7, NODES[1]: 3})


def test_a_forged_place_leaves_a_copy_that_can_be_stored() -> None:
    state = SessionState(0, 0, 0, {"a": Register(7, NODES[0], PLACE_MAX, expiring(b"x", 1))})
    register = without_expired(state, 1).registers["a"]
    assert (register.seq, register.value) == (PLACE_MAX, None)


def test_when_the_next_one_expires() -> None:
    assert next_expiry_ms(limited(a=30, b=20)) == 20
    assert next_expiry_ms(limited()) == NEVER_MS
    assert untils(limited(a=30)) == {"a": 30}
    spared = limited(a=30)
    note_that_none_expires(spared)
    assert next_expiry_ms(spared) == NEVER_MS


def test_only_attributes_expire() -> None:
    registers = {PRINCIPAL: Register(1, NODES[0], 1, expiring(b"ann", 1))}
    assert next_expiry_ms(SessionState(1, 1, 9, registers)) == NEVER_MS


@pytest.mark.parametrize(("node", "expected"), [
    (NODES[0], (Register(5, NODES[0], 9, None), {NODES[0]: 9, NODES[1]: 3})),
    (NODES[1], (Register(5, NODES[0], 8, None), {NODES[0]: 7, NODES[1]: 3})),
])
def test_with_a_store_the_writer_s_deletion_is_a_write_of_its_own(
    node: bytes, expected: tuple[Register, dict[bytes, int]]
) -> None:
    after = without_expired(limited(a=30), 30, node=node, seq=9)
    assert (after.registers["a"], after.versions) == expected
    told = delta_since("k", after, NODES[0], 8).state.registers
    assert bool(told) is (node == NODES[0])
    # Whoever has made a deletion of his own meanwhile takes it, and all are alike.
    own = without_expired(limited(a=30), 30)
    assert merge(own, after) == merge(after, own) == after


def test_with_a_store_the_writer_tells_of_it_and_else_the_session_s_owner() -> None:
    before = limited(a=30)
    own = ("k", before, without_expired(before, 30))
    written = ("k", before, without_expired(before, 30, node=NODES[0], seq=9))
    routes = frozenset("abc")
    telling = [route for route in routes if is_told_by(route, own, routes, spread=False)]
    assert telling == [owner("k", routes)]
    assert is_told_by("a", written, routes, spread=True)
    assert not any(is_told_by(route, own, routes, spread=True) for route in routes)


def test_what_a_wrong_clock_has_set_counts_as_long_as_it_was_meant_to() -> None:
    late = 5_000_000 << 16
    registers = {"a": Register(late, NODES[0], 7, expiring(b"1", 5_300_000))}
    state = SessionState(1, 1, 9, registers, {NODES[0]: 7})
    right = redated(state, {late: 1_000_000 << 16}, node=NODES[0], seq=8, latest_ms=1_000_000)
    assert untils(right) == {"a": 1_300_000}
    change = moved(Change("k", 5_000_000, {"a": expiring(b"1", 5_300_000)}), -4_000_000)
    assert change.sets == {"a": expiring(b"1", 1_300_000)}


def test_a_deletion_goes_along_to_a_new_node_id() -> None:
    after = without_expired(limited(a=30), 30)
    again = reissue(after, NODES[0], 7, node=NODES[1], seq=1)
    assert merge(again, limited(a=30)).registers["a"].value is None
