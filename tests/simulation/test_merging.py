"""The checker of collections notices what is lost, what comes back and what counts twice."""

import pytest

from clustersession.core.elements import LIST, Addition, ElementWrites, group_of
from clustersession.core.state import Register, SessionState
from tests.simulation.ledger import Fact, Ledger, Violation
from tests.simulation.merging import CART, HITS, Deed, check_slots, wrong_count, wrong_items

NODE, OTHER = b"nodenode", b"othernod"
STORE = Ledger().new_store("a")


def fact(seq: int, node: bytes = NODE) -> Fact:
    return Fact("key", (seq, node), seq, STORE, 0.0)


def added(item: int, seq: int) -> Deed:
    return Deed(CART, {}, added=[(item, item)], fact=fact(seq))


def removed(item: int, seen_seq: int) -> Deed:
    return Deed(CART, {NODE: seen_seq}, removed=[(item, item)], fact=fact(9, OTHER))


def stepped(step: int, seq: int) -> Deed:
    return Deed(HITS, {}, step=step, fact=fact(seq))


@pytest.mark.parametrize(("deeds", "held", "wrong"), [
    ([added(1, 1), added(2, 2)], [2, 1], ""),
    ([added(1, 1), added(2, 2)], [1], "has lost [2]"),
    ([added(1, 1)], [1, 1], "holds something twice: [(1, 1), (1, 1)]"),
    ([added(1, 1), removed(1, 1)], [], ""),
    ([added(1, 1), removed(1, 1)], [1], "holds (1, 1) again, which was removed"),
    ([added(1, 1), added(1, 3), removed(1, 1)], [1], ""),
    ([added(1, 1), added(1, 3), removed(1, 1)], [], "has lost [1]"),
])  # fmt: skip
def test_items_follow_from_what_was_added_and_removed(
    deeds: list[Deed], held: list[int], wrong: str
) -> None:
    assert wrong_items(deeds, deeds, [(item, item) for item in held]) == wrong


def test_what_nobody_was_told_of_may_be_there_or_not() -> None:
    deeds = [added(1, 1)]
    assert {wrong_items(deeds, [], held) for held in ([], [(1, 1)])} == {""}
    steps = [stepped(3, 1)]
    assert [bool(wrong_count(steps, [], count)) for count in (-1, 0, 3, 4)] == [1, 0, 0, 1]


def test_of_two_values_of_a_key_the_later_one_counts() -> None:
    deeds = [
        Deed("notes", {}, added=[("x", value)], fact=fact(value, node))
        for value, node in ((1, NODE), (2, OTHER))
    ]
    assert wrong_items(deeds, deeds, [("x", 2)]) == ""
    assert "not what was written later" in wrong_items(deeds, deeds, [("x", 1)])


def test_a_count_is_the_sum_of_what_was_not_set_to_nothing() -> None:
    reset = Deed(HITS, {NODE: 1}, reset=True, fact=fact(9, OTHER))
    deeds = [stepped(3, 1), stepped(5, 2), reset]
    assert wrong_count(deeds, deeds, 5) == ""
    assert wrong_count(deeds, deeds, 8) == "is 8, and not between 5 and 5"


def test_a_place_that_is_free_must_be_used() -> None:
    group, registers = group_of(LIST, CART), dict[str, Register]()
    adding = ElementWrites((Addition(group, b"1"),))
    adding.apply(registers, time=1, node=NODE, seq=1)
    (name,) = registers
    old = SessionState(0, 0, 9, {name: Register(2, OTHER, 1, None)})
    used = dict(old.registers)
    adding.apply(used, time=5, node=NODE, seq=2)
    check_slots("a", old, SessionState(0, 0, 9, used), NODE)
    taken = {**old.registers, f"{name}1": Register(5, NODE, 2, b"")}
    with pytest.raises(Violation, match="takes a new place"):
        check_slots("a", old, SessionState(0, 0, 9, taken), NODE)
