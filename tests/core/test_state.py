"""The laws of the session: merging is a join, an end is final, a delta carries what it must."""

import copy
import pickle
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.state import (
    IDLE_TIMEOUT,
    Change,
    Creation,
    Delta,
    Ended,
    Register,
    SessionState,
    access_coarseness_ms,
    apply_change,
    apply_delta,
    delta_since,
    encode_ms,
    expires_ms,
    highest_time,
    idle_timeout_ms,
    merge,
    moved,
    redated,
    reissue,
    times_in,
)
from clustersession.core.versions import covers

A, B = b"node-aaa", b"node-bbb"
nodes = st.sampled_from([A, B])
few = st.integers(1, 4)
registers = st.builds(Register, few, nodes, few, st.none() | st.sampled_from([b"", b"1", b"2"]))
versions = st.dictionaries(nodes, few)
live = st.builds(
    SessionState, few, few, few,
    st.dictionaries(st.sampled_from(["a", "b", IDLE_TIMEOUT]), registers), versions, st.none(),
)
dead = st.builds(
    SessionState, few, few, few, st.just({}), versions,
    st.builds(Ended, few, nodes, st.sampled_from(["invalidated", "rotated"])),
)
states = live | dead


@given(states, states, states)
def test_merging_is_a_join(a: SessionState, b: SessionState, c: SessionState) -> None:
    assert merge(a, a) == a
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))


@given(states, states)
def test_merging_loses_nothing(a: SessionState, b: SessionState) -> None:
    joined = merge(a, b)
    assert merge(joined, a) == joined
    assert covers(joined.versions, a.versions)
    if a.ended is not None:
        assert joined.ended is not None
        assert joined.registers == {}
    elif b.ended is None:
        assert highest_time(joined) >= highest_time(a)


@given(states)
def test_a_state_can_be_copied(state: SessionState) -> None:
    for other in (copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        assert other == state
        assert (highest_time(other), expires_ms(other)) == (highest_time(state), expires_ms(state))


def created(**sets: bytes) -> SessionState:
    change = Change("k", 1000, sets, creation=Creation(1000, 9_000_000, 60_000))
    state = apply_change(None, change, time=10, node=A, seq=1)
    assert state is not None
    return state


def test_a_creation_makes_a_whole_session() -> None:
    state = created(a=b"1")
    assert state == SessionState(
        1000, 1000, 9_000_000,
        {IDLE_TIMEOUT: Register(10, A, 1, b"60000"), "a": Register(10, A, 1, b"1")}, {A: 1},
    )
    assert idle_timeout_ms(state) == 60_000


def test_a_write_does_not_bring_a_session_into_being() -> None:
    assert apply_change(None, Change("k", 1, {"a": b"1"}), time=1, node=A, seq=1) is None
    assert apply_change(None, Change("k", 1, end="invalidated"), time=1, node=A, seq=1) is None


def test_a_change_sets_and_deletes_only_what_it_names() -> None:
    state = created(a=b"1", b=b"2")
    change = Change("k", 2000, {"c": b"3"}, deletes=("a", "unknown"))
    after = apply_change(state, change, time=11, node=B, seq=7)
    assert after is not None
    assert after.registers == {
        **state.registers, "c": Register(11, B, 7, b"3"), "a": Register(11, B, 7, None),
    }
    assert after.versions == {A: 1, B: 7}
    assert after.accessed_ms == 2000
    assert state == created(a=b"1", b=b"2")


def test_an_access_never_goes_back() -> None:
    after = apply_change(created(), Change("k", 500), time=11, node=A, seq=2)
    assert after is not None
    assert after.accessed_ms == 1000


@given(states, st.booleans())
def test_nothing_moves_an_ended_session(state: SessionState, create: bool) -> None:
    ended = merge(state, SessionState(1, 1, 1, {}, {A: 1}, Ended(1, A, "invalidated")))
    change = Change("k", 9, {"a": b"1"}, creation=Creation(1, 2, 3) if create else None)
    assert apply_change(ended, change, time=99, node=B, seq=9) is None


@given(live)
def test_an_end_drops_the_data_and_keeps_the_deadline(state: SessionState) -> None:
    ended = apply_change(state, Change("k", 9, end="rotated"), time=99, node=B, seq=9)
    assert ended is not None
    assert (ended.registers, ended.ended) == ({}, Ended(99, B, "rotated"))
    assert ended.deadline_ms == state.deadline_ms
    assert expires_ms(ended) == state.deadline_ms
    assert highest_time(ended) == 99


changes = st.builds(
    Change, st.just("k"), few, st.dictionaries(st.sampled_from("abc"), st.binary(max_size=1)),
    st.lists(st.sampled_from("abc"), max_size=2).map(tuple), st.none(),
    st.sampled_from([None, None, None, None, "invalidated"]),
)


@given(st.lists(st.tuples(nodes, changes), max_size=8), st.data())
def test_a_delta_above_a_floor_completes_a_copy_at_that_floor(
    plan: list[tuple[bytes, Change]], data: st.DataObject
) -> None:
    """Whoever has all of A up to the floor, and A's delta above it, has all of A."""
    state = created()
    history = {1: state}
    seqs = {A: 1, B: 0}
    for time, (node, change) in enumerate(plan, start=11):
        after = apply_change(state, change, time=time, node=node, seq=seqs[node] + 1)
        if after is None:
            break
        state, seqs[node] = after, seqs[node] + 1
        if node == A:
            history[seqs[A]] = state
    floor = data.draw(st.sampled_from(sorted(history)))
    joined = apply_delta(history[floor], delta_since("k", state, A, floor))
    assert joined is not None
    assert joined.versions[A] == state.versions[A]
    assert joined.ended == state.ended
    for name, register in state.registers.items():
        if register.node == A:
            assert joined.registers[name] == register
    whole = delta_since("k", state, A, 0)
    assert whole.full == all(register.node == A for register in state.registers.values())


def test_a_partial_delta_claims_only_its_writers_versions() -> None:
    state = apply_change(created(), Change("k", 1, {"b": b"1"}), time=11, node=B, seq=4)
    assert state is not None
    delta = delta_since("k", state, B, 0)
    assert not delta.full
    assert delta.state.versions == {B: 4}
    assert set(delta.state.registers) == {"b"}


def test_a_partial_delta_never_stands_alone() -> None:
    state = created(a=b"1")
    assert apply_delta(None, Delta("k", state, full=False)) is None
    assert apply_delta(None, Delta("k", state, full=True)) == state


def test_expiry_is_the_idle_timeout_with_its_coarseness_or_the_deadline() -> None:
    state = created()
    assert access_coarseness_ms(60_000) == 3000
    assert access_coarseness_ms(10**9) == 300_000
    assert expires_ms(state) == 1000 + 60_000 + 3000
    assert expires_ms(replace(state, accessed_ms=8_999_999)) == 9_000_000


def test_without_a_readable_idle_timeout_the_deadline_alone_counts() -> None:
    for value in (None, b"", b"-5", b"soon", encode_ms(0)):
        state = replace(created(), registers={IDLE_TIMEOUT: Register(1, A, 1, value)})
        assert idle_timeout_ms(state) == 0
        assert expires_ms(state) == 9_000_000
    assert expires_ms(replace(created(), registers={})) == 9_000_000


def test_an_absurd_idle_timeout_stays_a_number() -> None:
    state = replace(created(), registers={IDLE_TIMEOUT: Register(1, A, 1, b"9" * 5000)})
    assert expires_ms(state) == 9_000_000


@given(live, live, st.sampled_from([b"node-aa0", b"node-zzz"]))
def test_what_is_written_again_under_a_new_id_wins_over_whom_it_won_over(
    ours: SessionState, theirs: SessionState, new: bytes
) -> None:
    ours = merge(ours, theirs)
    late = {name: r for name, r in ours.registers.items() if r.node == A and r.seq > 2}
    again = reissue(ours, A, 2, node=new, seq=7)
    joined = merge(again, theirs)
    for name, register in late.items():
        assert joined.registers[name] == Register(register.time + 1, new, 7, register.value)
    assert again.versions.get(A, 0) <= 2


def test_a_change_that_is_moved_keeps_its_lengths() -> None:
    change = Change("k", 100, {"x": b"1"}, creation=Creation(90, 1090, 50))
    assert moved(change, -90) == Change("k", 10, {"x": b"1"}, creation=Creation(0, 1000, 50))
    assert moved(Change("k", 100), 5) == Change("k", 105)


@given(live, live)
def test_what_is_dated_again_in_order_merges_as_before(
    ours: SessionState, theirs: SessionState
) -> None:
    times = sorted(times_in(ours) | times_in(theirs))
    new_times = {time: place + 1 for place, time in enumerate(times)}
    sane = {"node": A, "seq": 9, "latest_ms": 2**50}
    one, other = (redated(state, new_times, **sane) for state in (ours, theirs))
    joined, expected = merge(one, other), merge(ours, theirs)
    assert (joined.ended is None) == (expected.ended is None)
    for name, register in expected.registers.items():
        assert joined.registers[name].time == new_times[register.time]
