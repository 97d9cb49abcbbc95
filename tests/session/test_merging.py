"""Values that merge: concurrent changes all stay, on one node and on several."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.elements import ELEMENTS_MAX, element_name
from clustersession.core.errors import SessionTooLarge, UnserializableValue
from clustersession.core.state import (
    LOCAL_PREFIX,
    Register,
    SessionState,
    delta_since,
    merge,
    shared,
)
from clustersession.session.changes import visible_values
from clustersession.session.events import decoded
from clustersession.session.merging import decode_attribute
from clustersession.session.session import Session
from clustersession.session.visit import visit_of
from clustersession.wire.merging import Counter, MergingDict, MergingList, MergingSet
from clustersession.wire.records import encode_delta
from tests.session.fakes import World

Write = Callable[[Session], Any]


class Two:
    """Two nodes that hold one session, each with its own copy until they meet."""

    def __init__(self, **values: Any) -> None:
        self.a, self.b = World(), World()
        self.b.replica.node = b"othernod"
        self.b.replica._head = 50
        self.cookie = self.a.store(**values)
        self.meet()

    def meet(self) -> None:
        for ours, theirs in ((self.a, self.b), (self.b, self.a)):
            for key, state in theirs.replica.states.items():
                held = ours.replica.states.get(key)
                ours.replica.states[key] = state if held is None else merge(held, state)

    def at_once(self, one: Write, other: Write) -> dict[str, Any]:
        """What both nodes hold after both have written without hearing of each other."""
        for world, write in ((self.a, one), (self.b, other)):
            world.now_ms += 5
            change(world, self.cookie, write)
        self.meet()
        held = [dict(world.open([self.cookie])) for world in (self.a, self.b)]
        assert held[0] == held[1]
        return held[0]


def change(world: World, cookie: str, write: Write) -> None:
    session = world.open([cookie])
    write(session)
    world.commit(session)


def state_of(world: World, cookie: str) -> SessionState:
    key = visit_of(world.open([cookie])).key
    assert key is not None
    return world.replica.states[key]


def drop(session: Session) -> None:
    del session["x"]


def add_one(session: Session) -> None:
    session["x"] += 1


APPEND_A: Write = lambda s: s["x"].append("a")  # noqa: E731
APPEND_B: Write = lambda s: s["x"].append("b")  # noqa: E731


@pytest.mark.parametrize(("held", "one", "other", "after"), [
    (MergingList([1]), APPEND_A, APPEND_B, [1, "a", "b"]),
    (MergingList([1, 2]), lambda s: s["x"].remove(1), lambda s: s["x"].remove(1), [2]),
    (MergingList([1, 2]), lambda s: s["x"].pop(0), APPEND_B, [2, "b"]),
    (MergingList([1, 2]), lambda s: s["x"].clear(), APPEND_B, ["b"]),
    (MergingList([3, 1]), lambda s: s["x"].sort(), APPEND_B, [1, 3, "b"]),
    (MergingList([3, 1, 2]), lambda s: s["x"].sort(), lambda s: s["x"].remove(1), [2, 3]),
    (MergingList([3, 1, 2]), lambda s: s["x"].sort(), lambda s: s["x"].remove(3), [1, 2, 3]),
    (MergingList([1, 9]), lambda s: s["x"].insert(1, 5), APPEND_B, [1, 5, 9, "b"]),
    (MergingList([{"n": 1}]), lambda s: s["x"][0].update(n=2), APPEND_B, [{"n": 2}, "b"]),
    (MergingSet([1, 2]), lambda s: s["x"].add(3), lambda s: s["x"].discard(1), {2, 3}),
    (MergingSet([1]), lambda s: s["x"].add(3), lambda s: s["x"].add(3), {1, 3}),
    (MergingDict(a=1), lambda s: s["x"].update(b=2), lambda s: s["x"].update(c=3),
     {"a": 1, "b": 2, "c": 3}),
    (MergingDict(a=1), lambda s: s["x"].update(a=2), lambda s: s["x"].update(a=3), {"a": 3}),
    (MergingDict(a=1, b=2), lambda s: s["x"].pop("a"), lambda s: s["x"].update(b=3), {"b": 3}),
    (MergingDict(a=1), lambda s: s["x"].clear(), lambda s: s["x"].update(a=3), {"a": 3}),
    (Counter(5), add_one, add_one, 7),
    (Counter(5), add_one, lambda s: s.update(x=s["x"] - 3), 3),
    (Counter(5), add_one, lambda s: s.update(x=Counter()), 1),
    (Counter(5), lambda s: s.update(x=Counter()), lambda s: s.update(x=Counter()), 0),
])  # fmt: skip
def test_changes_at_once_merge(held: Any, one: Write, other: Write, after: Any) -> None:
    assert Two(x=copy.copy(held)).at_once(one, other)["x"] == after
    assert Two(x=copy.copy(held)).at_once(other, one)["x"] in (after, [1, "b", "a"], {"a": 2})


def test_an_attribute_without_a_name_stands_beside_a_collection() -> None:
    world = World()
    cookie = world.store(x=MergingList([1]), **{"": 5})
    assert dict(world.open([cookie])) == {"x": [1], "": 5}


@pytest.mark.parametrize(("held", "write", "left"), [
    (MergingList([1]), APPEND_B, ["b"]),
    (MergingSet([1]), lambda s: s["x"].add("b"), {"b"}),
    (MergingDict(a=1), lambda s: s["x"].update(b=2), {"b": 2}),
    (Counter(5), add_one, 1),
])  # fmt: skip
def test_a_deletion_takes_what_it_has_seen(held: Any, write: Write, left: Any) -> None:
    two = Two(x=copy.copy(held))
    after = two.at_once(drop, write)
    assert after["x"] == left
    assert type(after["x"]) is type(held)
    # It goes on as one, and a later deletion takes that too.
    change(two.a, two.cookie, drop)
    two.meet()
    assert "x" not in two.b.open([two.cookie])
    change(two.b, two.cookie, lambda s: s.update(x=type(held)()))
    assert two.b.open([two.cookie])["x"] == type(held)()


def test_both_may_begin_a_collection() -> None:
    after = Two(y=1).at_once(
        lambda s: s.update(x=MergingList(["a"])), lambda s: s.update(x=MergingList(["b"]))
    )
    assert after["x"] == ["a", "b"]


def test_another_type_is_an_overwrite_behind_which_nothing_waits() -> None:
    two = Two(x=MergingList([1]))
    assert two.at_once(lambda s: s.update(x=[7]), APPEND_B)["x"] == [7]
    change(two.a, two.cookie, lambda s: s.update(x=MergingSet({2})))
    assert two.a.open([two.cookie])["x"] == {2}
    change(two.a, two.cookie, lambda s: s.update(x=MergingList()))
    assert two.a.open([two.cookie])["x"] == []


@pytest.mark.parametrize(("held", "write", "after"), [
    (MergingList([1]), lambda s, n: s["x"].append(n), [1, 2, 3]),
    (MergingSet([1]), lambda s, n: s["x"].add(n), {1, 2, 3}),
    (MergingDict({1: 1}), lambda s, n: s["x"].update({n: n}), {1: 1, 2: 2, 3: 3}),
    (Counter(1), lambda s, n: s.update(x=s["x"] + n), 6),
])  # fmt: skip
def test_requests_of_one_node_merge_and_both_hold_it_afterwards(
    held: Any, write: Any, after: Any
) -> None:
    world = World()
    cookie = world.store(x=copy.copy(held))
    first, second = world.open([cookie]), world.open([cookie])
    write(first, 2)
    write(second, 3)
    world.save(first)
    world.save(second)
    assert second["x"] == after
    assert not visit_of(second).unsaved
    assert world.open([cookie])["x"] == after
    # What the first has not seen is not taken away by its next write.
    write(first, 9)
    world.save(first)
    assert first["x"] == world.open([cookie])["x"]
    assert first["x"] != after


def test_a_reload_puts_unsaved_changes_on_top() -> None:
    world = World()
    cookie = world.store(l=MergingList([1]), s=MergingSet({1}), d=MergingDict(a=1), c=Counter(1))

    def write(session: Session, n: int) -> None:
        session["l"].append(n)
        session["s"].add(n)
        session["d"][str(n)] = n
        session["c"] += n

    slow = world.open([cookie])
    kept = slow["l"]
    write(slow, 2)
    change(world, cookie, lambda s: write(s, 3))
    assert slow.reload()
    expected = {"s": {1, 2, 3}, "d": {"a": 1, "2": 2, "3": 3}, "c": 6}
    assert {name: slow[name] for name in expected} == expected
    assert sorted(slow["l"]) == [1, 2, 3]
    assert slow["l"] is kept
    world.save(slow)
    assert world.open([cookie]) == slow


def test_a_reload_after_a_deletion_keeps_what_is_new() -> None:
    world = World()
    cookie = world.store(x=MergingList([1]))
    slow = world.open([cookie])
    slow["x"].append(2)
    change(world, cookie, drop)
    slow.reload()
    world.save(slow)
    assert world.open([cookie])["x"] == [2]


def test_it_moves_to_a_new_id() -> None:
    two = Two(
        l=MergingList([2, 1]), s=MergingSet({1}), d=MergingDict(a=1), c=Counter(5), x=Counter(1)
    )
    change(two.b, two.cookie, lambda s: s.update(c=s["c"] + 1, x=Counter(7)))
    two.meet()
    session = two.a.open([two.cookie])
    session["l"].append(3)
    session["c"] += 1
    session["s"].clear()
    session.rotate()
    two.a.commit(session)
    cookie = f"{session.sid}.a"
    moved = {"l": [2, 1, 3], "s": set(), "d": {"a": 1}, "c": 7, "x": 7}
    assert two.a.open([cookie]) == moved
    # A deletion under the new id takes everything, and nothing more.
    change(two.a, cookie, lambda s: s.pop("x") and s.pop("l"))
    assert two.a.open([cookie]) == {"s": set(), "d": {"a": 1}, "c": 7}


def test_nothing_is_written_without_a_change() -> None:
    world = World()
    cookie = world.store(l=MergingList([1]), s=MergingSet({1}), d=MergingDict(a=1), c=Counter(5))
    commits = len(world.replica.commits)
    session = world.open([cookie])
    assert json.loads(json.dumps({**session, "s": sorted(session["s"])}))["c"] == 5
    session["l"].append(2)
    session["l"].pop()
    session["c"] = session["c"] + 1 - 1
    session["c"] = int(session["c"]) and session["c"]
    assert not visit_of(session).unsaved
    world.commit(session)
    assert len(world.replica.commits) == commits


def test_no_derived_name_is_seen() -> None:
    world = World()
    cookie = world.store(x=MergingList([1, 2]), n=Counter(3))
    session = world.open([cookie])
    assert list(session) == ["x", "n"]
    assert len(session) == 2
    assert decoded(state_of(world, cookie)) == {"x": [1, 2], "n": 3}


def test_one_item_more_in_a_list_of_1000_is_sent_in_less_than_400_bytes() -> None:
    world = World()
    cookie = world.store(x=MergingList({"id": n, "name": f"item {n}"} for n in range(1000)))
    head = world.replica._head
    change(world, cookie, lambda s: s["x"].append({"id": 1000, "name": "one more"}))
    delta = delta_since("k" * 23, state_of(world, cookie), world.replica.node, head)
    assert not delta.full
    assert len(encode_delta(delta)) < 400


def test_places_are_used_again() -> None:
    world = World()
    cookie = world.store(x=MergingList())
    for n in range(60):
        world.now_ms += 1
        change(world, cookie, lambda s, n=n: s["x"].append(n))
        change(world, cookie, lambda s: s["x"].pop(0) if len(s["x"]) > 3 else None)
    assert sum(element_name(n) is not None for n in state_of(world, cookie).registers) <= 5


def test_what_is_local_stays_here() -> None:
    world = World(local_attributes=("draft",))
    cookie = world.store(draft=MergingList([1]), hits=Counter(1), y=1)
    change(world, cookie, lambda s: s["draft"].append(2))
    state = state_of(world, cookie)
    assert world.open([cookie])["draft"] == [1, 2]
    assert not [n for n in shared(state).registers if "draft" in n]
    assert any(n.startswith(LOCAL_PREFIX) for n in state.registers)
    change(world, cookie, lambda s: s.pop("draft"))
    assert "draft" not in world.open([cookie])


@pytest.mark.parametrize("write", [
    lambda s: s.update(x=MergingList(range(ELEMENTS_MAX + 1))),
    lambda s: s.update(x=MergingList(["a" * 999] * 2000)),
    lambda s: s.update(x=MergingSet({"a" * 2_000_000})),
    *[lambda s, n=n: s.update({str(i): MergingList(["a" * 100_000] * 9) for i in range(n)})
      for n in (5,)],
])  # fmt: skip
def test_what_is_too_large_is_refused(write: Write) -> None:
    world = World()
    session = world.open([world.store(y=1)])
    write(session)
    with pytest.raises(SessionTooLarge):
        world.commit(session)


@pytest.mark.parametrize("value", [
    MergingList([object()]), MergingDict({"a": object()}), Counter(2**70),
    MergingSet([n * (2**61 - 1) for n in range(100)]),
])  # fmt: skip
def test_what_cannot_be_stored_is_refused(value: Any) -> None:
    world = World()
    session = world.open([world.store(y=1)])
    session["x"] = value
    with pytest.raises(UnserializableValue, match="x"):
        world.commit(session)


def test_inside_other_values_it_is_plain() -> None:
    world = World()
    cookie = world.store(x=[MergingList([1]), MergingDict(a=1), MergingSet({1}), Counter(2)])
    inside = world.open([cookie])["x"]
    assert inside == [[1], {"a": 1}, {1}, 2]
    assert [type(value) for value in inside] == [list, dict, set, int]


def test_a_number_set_by_hand_is_no_counter_any_more() -> None:
    world = World()
    cookie = world.store(x=Counter(5))
    change(world, cookie, lambda s: s.update(x=int(s["x"])))
    assert type(world.open([cookie])["x"]) is int


values = st.lists(st.integers(0, 3), max_size=7)


@given(values, values, values)
def test_any_change_of_a_list_is_stored(
    before: list[int], after: list[int], last: list[int]
) -> None:
    world = World()
    cookie = world.store(x=MergingList(before))
    for content in (after, last):
        session = world.open([cookie])
        session["x"][:] = content
        world.commit(session)
        assert world.open([cookie])["x"] == content


@given(st.dictionaries(st.integers(0, 3), st.integers(0, 2)), values, values)
def test_any_change_of_a_dict_is_stored(
    before: dict[int, int], keys: list[int], others: list[int]
) -> None:
    world = World()
    cookie = world.store(d=MergingDict(before), s=MergingSet(before))
    for content in (keys, others):
        session = world.open([cookie])
        for key in content:
            if key in session["d"]:
                del session["d"][key]
            else:
                session["d"][key] = len(content)
            session["s"] ^= {key}
        expected = dict(session)
        world.commit(session)
        assert world.open([cookie]) == expected


@given(values, values, values)
def test_of_two_changes_of_a_list_every_new_item_stays(
    before: list[int], one: list[int], other: list[int]
) -> None:
    after = Two(x=MergingList(before)).at_once(
        lambda s: s["x"].extend(f"a{n}" for n in one),
        lambda s: s["x"].extend(f"b{n}" for n in other),
    )["x"]
    assert after == [*before, *(f"a{n}" for n in one), *(f"b{n}" for n in other)]


@given(st.dictionaries(
    st.text(max_size=3).map("\x00+{}".format) | st.sampled_from(
        ["x", *[f"\x00+{kind}x\x00{n}" for kind in "ldscb?" for n in "12"]]
    ),
    st.builds(Register, st.integers(1, 4), st.just(b"nodenode"), st.integers(1, 4), st.none()
              | st.binary(max_size=40)
              | st.sampled_from([b"\xd4\x0dl", b"\xd4\x0dd", b"\xd4\x0ds", b"\xd4\x0dc"])
              | st.sampled_from([b"\x01", b"\0\0\0\x01\x01\x02", b"\x90", b"\0\0\0\x01\x90\x01"])
              .map(lambda content: bytes(20) + content)),
))  # fmt: skip
def test_whatever_stands_in_registers_is_read_or_left_out(registers: dict[str, Register]) -> None:
    state = SessionState(1, 1, 2_000_000_000_000, registers)
    assert set(decoded(state)) <= set(visible_values(registers))
    world = World()
    cookie = world.store(y=1)
    [key] = world.replica.states
    world.replica.states[key] = merge(world.replica.states[key], state)
    session = world.open([cookie])
    assert session["y"] == 1
    dict(session)
    session["x"] = MergingList([1])
    world.commit(session)
    assert decode_attribute(visible_values(state_of(world, cookie).registers)["x"]) == [1]
