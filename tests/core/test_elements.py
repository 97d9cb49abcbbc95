"""Elements of collections: nothing unseen is lost, nothing deleted is back, places serve again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.clock import next_time
from clustersession.core.elements import (
    LIST,
    SUM,
    Addition,
    ElementWrites,
    Place,
    counted,
    element_name,
    group_of,
    read_element,
    seen_sum_name,
    sum_in,
)
from clustersession.core.errors import WireError
from clustersession.core.state import (
    LOCAL_PREFIX,
    Change,
    Creation,
    Register,
    SessionState,
    apply_change,
    apply_delta,
    delta_since,
    highest_time,
    merge,
)

NODES = [b"node-aaa", b"node-bbb", b"node-ccc"]
GROUP, COUNTS = group_of(LIST, "cart"), group_of(SUM, "hits")


def begun() -> SessionState:
    change = Change("k", 1000, {}, creation=Creation(1000, 9_000_000, 60_000))
    state = apply_change(None, change, time=10, node=NODES[0], seq=1)
    assert state is not None
    return state


def there(state: SessionState) -> dict[str, Register]:
    return {
        name: register for name, register in state.registers.items()
        if name.startswith(GROUP) and register.value is not None
    }


def contents(state: SessionState) -> list[bytes]:
    elements = [read_element(name, register) for name, register in there(state).items()]
    return [e.content for e in sorted(elements, key=lambda e: (e.order, e.stamp, e.name))]


def total(state: SessionState) -> int:
    return sum(counted(state.registers, n) for n in state.registers if n.startswith(COUNTS))


@dataclass
class Node:
    """A node's copy beside what a model says that it holds: what it saw, without what went."""

    node: bytes
    state: SessionState = field(default_factory=begun)
    seq: int = 1
    added: set[bytes] = field(default_factory=set)
    gone: set[bytes] = field(default_factory=set)
    steps: dict[bytes, int] = field(default_factory=dict)
    taken_off: set[bytes] = field(default_factory=set)

    def write(self, writes: ElementWrites, wall_ms: int) -> None:
        self.seq += 1
        time = next_time(highest_time(self.state), wall_ms)
        state = apply_change(
            self.state, Change("k", 1000, elements=writes), time=time, node=self.node, seq=self.seq
        )
        assert state is not None
        self.state = state

    def name(self) -> bytes:
        return b"%b%d" % (self.node, self.seq)

    def append(self, wall_ms: int) -> None:
        name = self.name()
        self.added.add(name)
        self.write(ElementWrites((Addition(GROUP, name), Addition(GROUP, name + b"+"))), wall_ms)
        self.added.add(name + b"+")

    def remove(self, which: int, wall_ms: int) -> None:
        held = sorted(there(self.state).items())
        if held:
            name, register = held[which % len(held)]
            self.gone.add(read_element(name, register).content)
            self.write(ElementWrites(retired={name: register}), wall_ms)

    def clear(self, wall_ms: int) -> None:
        self.gone |= self.added
        self.write(ElementWrites(retired=there(self.state)), wall_ms)

    def replace(self, wall_ms: int) -> None:
        name = self.name()
        self.gone |= self.added
        self.added.add(name)
        self.write(ElementWrites((Addition(GROUP, name),), there(self.state)), wall_ms)

    def count(self, step: int, wall_ms: int) -> None:
        self.steps[self.name()] = step
        self.write(ElementWrites(increments={COUNTS: step}), wall_ms)

    def count_anew(self, wall_ms: int) -> None:
        sums = {n: r for n, r in self.state.registers.items() if n.startswith(COUNTS)}
        self.taken_off |= self.steps.keys()
        self.write(ElementWrites(retired=sums), wall_ms)

    def hear(self, other: "Node") -> None:
        self.state = merge(self.state, other.state)
        self.added |= other.added
        self.gone |= other.gone
        self.steps |= other.steps
        self.taken_off |= other.taken_off

    def check(self) -> None:
        assert set(contents(self.state)) == self.added - self.gone
        assert total(self.state) == sum(
            step for name, step in self.steps.items() if name not in self.taken_off
        )


who = st.integers(0, len(NODES) - 1)
# Clocks that differ: some nodes then issue one tick after the other.
steps = st.lists(
    st.tuples(who, st.sampled_from(["append", "remove", "clear", "replace", "count", "count_anew",
                                    "hear"]), st.integers(0, 5), st.integers(0, 3)),
    min_size=5, max_size=40,
)


@given(steps)
def test_a_deletion_wins_over_what_it_has_seen_and_over_nothing_else(
    script: list[tuple[int, str, int, int]]
) -> None:
    members = [Node(node) for node in NODES]
    for index, what, number, wall_ms in script:
        node = members[index]
        calls: dict[str, Callable[[], Any]] = {
            "remove": lambda node=node, number=number, w=wall_ms: node.remove(number, w),
            "count": lambda node=node, number=number, w=wall_ms: node.count(number - 2, w),
            "hear": lambda node=node, number=number: node.hear(members[number % len(members)]),
        }
        calls.get(what, lambda node=node, what=what, w=wall_ms: getattr(node, what)(w))()
        node.check()
    for node in members[1:]:
        members[0].hear(node)
    members[0].check()


@given(steps)
def test_there_are_no_more_places_than_elements_at_one_time(
    script: list[tuple[int, str, int, int]]
) -> None:
    node, most = Node(NODES[0]), 0
    for _, what, number, wall_ms in script:
        if what == "remove":
            node.remove(number, wall_ms)
        elif what in ("append", "clear", "replace"):
            getattr(node, what)(wall_ms)
        most = max(most, len(there(node.state)))
    assert sum(name.startswith(GROUP) for name in node.state.registers) <= most + 2


def test_elements_come_in_the_order_in_which_they_were_appended() -> None:
    a = Node(NODES[0])
    a.write(ElementWrites(tuple(Addition(GROUP, b"%d" % n) for n in range(300))), 5)
    assert contents(a.state) == [b"%d" % n for n in range(300)]


def test_what_is_put_after_another_element_comes_right_after_it() -> None:
    a = Node(NODES[0])
    a.write(ElementWrites((Addition(GROUP, b"1"), Addition(GROUP, b"9"))), 5)
    for text in (b"5", b"3"):
        first = min((read_element(*i) for i in there(a.state).items()), key=lambda e: e.order)
        writes = (Addition(GROUP, text, Place.AFTER, first.order),
                  Addition(GROUP, text + b"+", Place.AFTER, first.order))
        a.write(ElementWrites(writes), 5)
    a.write(ElementWrites((Addition(GROUP, b"0", Place.AFTER),)), 5)
    assert contents(a.state) == [b"0", b"1", b"3", b"3+", b"5", b"5+", b"9"]


def test_an_append_comes_last_after_a_clock_that_was_wrong() -> None:
    a = Node(NODES[0])
    a.write(ElementWrites((Addition(GROUP, b"1"),)), 9_000)
    [later] = there(a.state).items()
    order = read_element(*later).order
    state = SessionState(
        1, 1, 9, {later[0]: later[1]._replace(time=3)}, a.state.versions
    )
    writes = ElementWrites((Addition(GROUP, b"2", Place.LAST, order),))
    after = apply_change(state, Change("k", 1, elements=writes), time=9, node=NODES[1], seq=9)
    assert after is not None
    assert contents(after) == [b"1", b"2"]


def test_one_element_more_costs_its_own_bytes() -> None:
    a = Node(NODES[0])
    a.write(ElementWrites(tuple(Addition(GROUP, b"%d" % n) for n in range(1000))), 5)
    before = a.state
    a.write(ElementWrites((Addition(GROUP, b"one more"),)), 5)
    delta = delta_since("k", a.state, NODES[0], a.seq - 1)
    assert len(delta.state.registers) == 1
    assert apply_delta(before, delta) == a.state


def test_a_deletion_made_later_leaves_what_was_put_in_the_place_meanwhile() -> None:
    a, b = Node(NODES[0]), Node(NODES[1])
    a.append(5)
    b.hear(a)
    a.clear(6)
    a.append(7)
    b.clear(900)
    for one, other in ((a, b), (b, a)):
        one.hear(other)
        one.check()


def test_the_counts_of_a_node_add_up_and_those_not_seen_stay() -> None:
    a = Node(NODES[0])
    a.count(5, 5)
    seen = {name: r for name, r in a.state.registers.items() if name.startswith(COUNTS)}
    a.count(2, 5)
    assert total(a.state) == 7
    a.write(ElementWrites(retired=seen), 900)
    assert total(a.state) == 2


def test_of_two_who_set_a_counter_anew_the_one_who_saw_more_counts() -> None:
    a, b, c = (Node(node) for node in NODES)
    a.count(5, 5)
    b.hear(a)
    a.count(2, 6)
    c.hear(a)
    c.count_anew(7)
    b.count_anew(900)
    for one, other in ((b, c), (c, b), (a, b)):
        one.hear(other)
        one.check()
    a.count(1, 1000)
    a.check()


def test_what_was_not_seen_in_a_place_stays() -> None:
    a = Node(NODES[0])
    a.append(5)
    stale = there(a.state)
    a.clear(5)
    a.append(5)
    a.write(ElementWrites(retired=stale), 5)
    assert len(there(a.state)) == 2


def test_a_sum_older_than_what_was_seen_of_it_counts_nothing() -> None:
    name = COUNTS + "n"
    registers = {
        name: Register(5, NODES[0], 1, b"3"),
        seen_sum_name(name): Register(7, NODES[1], 1, b"9"),
    }
    assert counted(registers, name) == 0


def test_a_counter_that_an_older_version_moved_can_be_deleted() -> None:
    name = COUNTS + "n"
    registers = {
        name: Register(5, NODES[2], 1, b"7"),
        seen_sum_name(name): Register(5, NODES[2], 1, b"3"),
    }
    ElementWrites(retired={name: registers[name]}).apply(registers, time=9, node=NODES[0], seq=2)
    assert counted(registers, name) == 0


@pytest.mark.parametrize("value", [None, b"", b"x", b"-", b"1" * 50, b"1.5"])
def test_a_sum_that_no_node_writes_counts_nothing(value: bytes | None) -> None:
    assert sum_in(Register(1, NODES[0], 1, value)) == 0


def test_names_of_elements_are_read() -> None:
    name = GROUP + "x"
    assert element_name(name) == (LIST, "cart", "x")
    assert element_name(LOCAL_PREFIX + name) == (LIST, "cart", "x")
    assert element_name(group_of(LIST, "a\x00b") + "x") == (LIST, "a\x00b", "x")
    for other in ("cart", "\x00idle_ms", "\x00+", LOCAL_PREFIX + "cart"):
        assert element_name(other) is None


@pytest.mark.parametrize("value", [b"", b"short", bytes(18) + b"\xff\xff"])
def test_what_is_no_element_is_refused(value: bytes) -> None:
    with pytest.raises(WireError):
        read_element("n", Register(1, NODES[0], 1, value))
