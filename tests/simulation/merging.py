"""Collections that merge: what requests do to them, and what must have become of that at the end.

Judged by what the requests were to do and had seen, and not by the registers of elements.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clustersession.core.elements import SUM, element_name
from clustersession.core.state import Register, SessionState
from clustersession.core.versions import covers
from clustersession.session.changes import visible_values
from clustersession.session.merging import decode_attribute
from clustersession.wire.merging import Counter, MergingDict, MergingList, MergingSet
from tests.simulation.ledger import Fact, Ledger, Violation

CART, TAGS, NOTES, HITS = "cart", "tags", "notes", "hits"
COLLECTIONS = (CART, TAGS, NOTES, HITS)
CLEARED = {"x": CART, "y": TAGS, "z": NOTES}
DROPPED = {"x": CART, "y": NOTES, "z": HITS}
STEPS = {"x": 1, "y": 5, "z": -2}
ADDING = ("append", "insert", "replace", "add", "put", "count")
REMOVING = ("take", "discard", "pop", "clear", "drop", "zero")
ACTIONS = (*ADDING, *REMOVING)

Item = tuple[Any, Any]
"""A name that is added and removed, and the value under it: of lists and sets the same."""


def act(session: Any, action: str, name: str, number: int) -> None:
    """Do what one of these actions stands for, with a number that nobody has used before."""
    match action:
        case "append" | "insert" | "replace" | "take":
            _act_on_list(session, action, name, number)
        case "add":
            session.setdefault(TAGS, MergingSet()).add(name)
        case "discard":
            session.get(TAGS, set()).discard(name)
        case "put":
            session.setdefault(NOTES, MergingDict())[name] = number
        case "pop":
            session.get(NOTES, {}).pop(name, None)
        case "count":
            session[HITS] = session.get(HITS, Counter()) + STEPS[name]
        case "zero" if session.get(HITS):
            session[HITS] = Counter()
        case "clear":
            session.get(CLEARED[name], set()).clear()
        case "drop":
            session.pop(DROPPED[name], None)


def _act_on_list(session: Any, action: str, name: str, number: int) -> None:
    cart = session.setdefault(CART, MergingList()) if action != "take" else session.get(CART, [])
    place = {"x": 0, "y": len(cart) // 2, "z": max(len(cart) - 1, 0)}[name]
    if action == "append" or (action == "replace" and not cart):
        cart.append(number)
    elif action == "insert":
        cart.insert(place, number)
    elif action == "replace":
        cart[place] = number
    elif cart:
        del cart[place]


@dataclass(eq=False)
class Deed:
    """What a request did to one collection of a session.

    added, removed: items of a list, set or dict. step, reset: of a counter. seen: the writes that
    the request had seen. fact: its commit; None as long as nobody was told that there is one.
    """

    attribute: str
    seen: Mapping[bytes, int]
    added: list[Item] = field(default_factory=list)
    removed: list[Item] = field(default_factory=list)
    step: int = 0
    reset: bool = False
    fact: Fact | None = None

    @property
    def only_removes(self) -> bool:
        """Whether nothing need be written when others have done the same."""
        return not self.added and not self.step

    def may_take(self, other: Deed, item: Item) -> bool:
        """Whether it removes what another deed has added, if both are there."""
        if other.fact is None:
            return item in self.removed
        return self.saw(other) and any(name == item[0] for name, _ in self.removed)

    def saw(self, other: Deed) -> bool:
        """Whether the request had seen what another one had written."""
        fact = other.fact
        return fact is not None and covers(self.seen, {fact.stamp[1]: fact.seq})


Held = Mapping[str, Any]


def held_in(values: Mapping[str, Any]) -> Held:
    """What collections hold: the items of each, and of a counter the number."""
    held: dict[str, Any] = {}
    for name in COLLECTIONS:
        found = values.get(name)
        if isinstance(found, int):
            held[name] = int(found)
        elif found is not None:
            pairs = found.items() if isinstance(found, dict) else ((item, item) for item in found)
            held[name] = list(pairs)
    return held


def stored_in(state: SessionState) -> Held:
    """What the collections of a copy hold."""
    stored = visible_values(state.registers)
    return held_in({n: decode_attribute(stored[n]) for n in COLLECTIONS if n in stored})


def deeds_between(
    before: Held, after: Held, seen: SessionState | None, *, resets: bool = False
) -> list[Deed]:
    """What was done to the collections of a request that had seen so much."""
    versions = {} if seen is None else seen.versions
    deeds = []
    for name in COLLECTIONS:
        deed = Deed(name, versions)
        old, new = before.get(name), after.get(name)
        if name == HITS:
            # Counting from nothing leaves behind whatever adds up to nothing.
            deed.reset = old is None or resets
            deed.step = (new or 0) if deed.reset else new - (old or 0)
        else:
            deed.added = [item for item in new or () if item not in (old or ())]
            deed.removed = [item for item in old or () if item not in (new or ())]
        if old != new:
            deeds.append(deed)
    return deeds


class Deeds:
    """All that was done to collections, by session."""

    def __init__(self) -> None:
        self._of: dict[str, list[Deed]] = defaultdict(list)

    def note(self, key: str | None, deeds: Sequence[Deed]) -> None:
        """A request is about to commit to a session that is there."""
        if key is not None:
            self._of[key] += deeds

    def answered(self, key: str, deeds: Sequence[Deed], fact: Fact) -> None:
        """It was told what its commit was."""
        for deed in deeds:
            deed.fact = fact
        self._of[key] += [deed for deed in deeds if deed not in self._of[key]]

    def check(self, ledger: Ledger, host: str, key: str, state: SessionState) -> None:
        """What a copy holds at the end follows from what was done. Raises Violation."""
        held, sure = stored_in(state), set(map(id, ledger.facts[key]))

        def is_sure(deed: Deed) -> bool:
            return deed.fact is not None and id(deed.fact) in sure and deed.fact.surely_there

        for name in COLLECTIONS:
            deeds = [deed for deed in self._of.get(key, ()) if deed.attribute == name]
            # Who was never answered has no cookie of a session that he began.
            if not deeds:
                continue
            certain = [deed for deed in deeds if is_sure(deed)]
            if name != HITS:
                wrong = wrong_items(deeds, certain, held.get(name, []))
            elif any(d.fact and d.fact.stamp[1] in ledger.nodes_fallen_back for d in deeds):
                # It may have counted on from less than it had counted before.
                continue
            else:
                wrong = wrong_count(deeds, certain, held.get(name, 0))
            if wrong:
                raise Violation(f"{host}: {key[:6]}[{name!r}] {wrong}")
            ledger.marks["collection held against its requests"] += bool(certain)


def wrong_count(deeds: Sequence[Deed], certain: Sequence[Deed], count: int) -> str:
    """What is wrong with a count; certain: the deeds that are surely there. Empty: nothing."""
    low = high = 0
    for deed in deeds:
        resets = [other for other in deeds if other.reset and other.saw(deed)]
        if deed in certain and not resets:
            low, high = low + deed.step, high + deed.step
        elif deed not in certain or not any(reset in certain for reset in resets):
            low, high = low + min(deed.step, 0), high + max(deed.step, 0)
    return "" if low <= count <= high else f"is {count}, and not between {low} and {high}"


def wrong_items(deeds: Sequence[Deed], certain: Sequence[Deed], held: Sequence[Item]) -> str:
    """What is wrong with a list, set or dict; certain: as of a count. Empty: nothing."""
    if len({name for name, _ in held}) < len(held):
        return f"holds something twice: {held}"
    newest: dict[Any, tuple[int, bytes]] = {}
    for deed in certain:
        assert deed.fact is not None
        for item in deed.added:
            if any(other.may_take(deed, item) for other in deeds if other is not deed):
                continue
            newest[item[0]] = max(newest.get(item[0], deed.fact.stamp), deed.fact.stamp)
    if lacking := newest.keys() - {name for name, _ in held}:
        return f"has lost {sorted(lacking)}"
    for item in held:
        additions = [deed for deed in deeds if item in deed.added]
        if additions and all(
            any(other.may_take(deed, item) for other in certain if other is not deed)
            for deed in additions
        ):
            return f"holds {item} again, which was removed"
        dates = [deed.fact.stamp if deed.fact else None for deed in additions]
        if all(date is not None and date < newest.get(item[0], date) for date in dates) and dates:
            return f"holds {item}, and not what was written later"
    return ""


def check_slots(host: str, old: SessionState | None, new: SessionState, node: bytes) -> None:
    """A node takes no new place for an element as long as it may use an old one again."""
    before: Mapping[str, Register] = {} if old is None else old.registers
    added = [name for name in new.registers if name not in before]
    own = urlsafe_b64encode(node).decode().rstrip("=") + "."
    for name in added:
        known = element_name(name)
        if known is None or known.kind == SUM or not known.identifier.startswith(own):
            continue
        start = name.removesuffix(known.identifier) + own
        date = new.registers[name].time
        for other, register in before.items():
            free = other.startswith(start) and register.value is None and register.time < date
            if free and new.registers[other].value is None:
                raise Violation(f"{host} takes a new place for an element, and {other!r} is free")
