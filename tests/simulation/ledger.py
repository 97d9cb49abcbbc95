"""What really happened: every write, end, access and loss, as no node of the cluster can know it.

The checkers compare what the nodes hold with this. It is deliberately plain: lists of facts, in the
order in which they happened.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from clustersession.core.clock import wall_ms_of
from clustersession.core.state import PRINCIPAL, SessionState


class Violation(AssertionError):
    """Something happened that must never happen."""


@dataclass(eq=False)
class Store:
    """One life of one host's replica: what it held is lost when the store is."""

    host: str
    number: int
    lost: bool = False
    ended: set[str] = field(default_factory=set)
    last_access_s: dict[str, float] = field(default_factory=dict)


@dataclass(eq=False)
class Fact:
    """One committed change. ``holders`` is how many nodes were said to hold it.

    times: of values that are dated otherwise than the commit. told: of an end that was acknowledged
    where hosts have journals, those on whose disks it was then; keepers: those that have not lost
    their disks since.
    """

    key: str
    stamp: tuple[int, bytes]
    seq: int
    store: Store
    at_s: float
    values: dict[str, bytes | None] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)
    end: str | None = None
    holders: int = 1
    safe: bool = True
    expires_ms: int = 0
    evicted: bool = False
    expired: bool = False
    keepers: set[str] | None = None
    told: set[str] = field(default_factory=set)

    def stamp_of(self, name: str) -> tuple[int, bytes]:
        """When a value of it was written, and by whom."""
        return self.times.get(name, self.stamp[0]), self.stamp[1]

    @property
    def surely_there(self) -> bool:
        """Whether it must have survived everything that has happened so far."""
        if self.expired and self.end is None:
            return False
        if self.keepers:
            return True
        if self.evicted:
            return self.safe
        return not self.store.lost or (self.holders > 1 and self.safe)


class Ledger:
    """All facts of one world."""

    def __init__(self) -> None:
        self.facts: dict[str, list[Fact]] = defaultdict(list)
        self.written: dict[tuple[str, str, int, bytes], bytes | None] = {}
        self.users: dict[str, set[bytes]] = defaultdict(set)
        self.created_s: dict[str, float] = {}
        self.access_s: dict[str, float] = {}
        self.opened_s: dict[str, float] = {}
        self.ever_lost = False
        self.marks: Counter[str] = Counter()
        self.stores: list[Store] = []
        # What all hosts and their store have of a session now.
        self.copies_of: Callable[[str], Iterable[SessionState]] = lambda key: ()
        self.by_writer: dict[tuple[bytes, int], Fact] = {}
        self.nodes_fallen_back: set[bytes] = set()
        self._last_time: dict[bytes, int] = {}
        self._by_seq: dict[tuple[Store, bytes, int], Fact] = {}
        self._lost_since_calm_s: list[float] = []
        self._lost_s: list[float] = []

    def new_store(self, host: str) -> Store:
        """A host begins with an empty store."""
        store = Store(host, len(self.stores))
        self.stores.append(store)
        return store

    def add(self, fact: Fact) -> None:
        """A commit had an effect. Raises Violation for a stamp that does not move on."""
        time, node = fact.stamp
        # What is deleted of a collection, and nothing else, is dated as what was deleted.
        is_dated = not fact.times or len(fact.times) < len(fact.values)
        if is_dated:
            if time <= self._last_time.get(node, -1) and node not in self.nodes_fallen_back:
                last = self._last_time[node]
                raise Violation(f"node {node.hex()} used stamp {time} after {last}")
            self._last_time[node] = time
        for other in self.facts[fact.key]:
            if other.stamp[0] == time and other.values.keys() & fact.values.keys():
                self.marks["tie broken by node id"] += 1
        if user := fact.values.get(PRINCIPAL):
            self.users[fact.key].add(user)
        for name, value in fact.values.items():
            self.written[(fact.key, name, *fact.stamp_of(name))] = value
        self.facts[fact.key].append(fact)
        self._by_seq[fact.store, node, fact.seq] = fact
        self.by_writer[node, fact.seq] = fact

    def confirmed(self, store: Store, node: bytes, seqs: range, peers: int) -> list[Fact]:
        """The client was told that so many peers hold these writes; returns them."""
        facts = [fact for seq in seqs if (fact := self._by_seq.get((store, node, seq)))]
        for fact in facts:
            # What has left before the answer came stays with the peer alone.
            fact.holders = max(fact.holders, peers if fact.evicted else 1 + peers)
        return facts

    def ends_alone(self, store: Store, node: bytes, seqs: range) -> bool:
        """Whether a commit has ended sessions and done nothing else."""
        facts = [self._by_seq.get((store, node, seq)) for seq in seqs]
        return bool(facts) and all(fact is not None and fact.end for fact in facts)

    def evicted(self, store: Store, key: str, *, is_held: bool) -> None:
        """A store has let go of a session: what was written there only its peer holds, if it does.
        """
        store.last_access_s.pop(key, None)
        self.marks["session left for the store"] += 1
        for fact in self.facts[key]:
            if fact.store is store:
                fact.evicted, fact.safe, fact.holders = True, is_held, 1

    def expired(self, key: str, store: Store | None) -> None:
        """A store has removed a session that was over there; None: the peer of those that evict.

        Who kept it in use elsewhere need not have heard what was written here.
        """
        for fact in self.facts[key]:
            fact.expired |= fact.evicted if store is None else fact.store is store

    def reissued(self, store: Store, node: bytes, floor: int) -> None:
        """What the node wrote here beyond a place goes on under other stamps."""
        for key, facts in self.facts.items():
            self.facts[key] = [
                fact for fact in facts
                if fact.end or fact.store is not store or fact.stamp[1] != node or fact.seq <= floor
            ]

    def dated_again(self, store: Store, beyond_ms: int) -> None:
        """What was written here with times beyond the present goes on under other stamps."""
        for key, facts in self.facts.items():
            self.facts[key] = [
                fact for fact in facts
                if fact.end or fact.store is not store or wall_ms_of(fact.stamp[0]) <= beyond_ms
            ]

    def power_cut(
        self, store: Store, survived: Callable[[Fact], bool], now_s: float
    ) -> None:
        """A host lost its power: of what was written there, so much is in its journal."""
        lost = Store(store.host, -1, lost=True)
        for fact in self._all():
            if fact.store is store and not survived(fact):
                fact.store = lost
        self._by_seq = {(f.store, f.stamp[1], f.seq): f for f in self._all()}
        self.lose(lost, now_s)

    def facts_of(self, store: Store) -> set[Fact]:
        """What has been written in a store."""
        return {fact for fact in self._all() if fact.store is store}

    def losses_since(self, at_s: float) -> int:
        """How many stores were lost since."""
        return sum(lost_s >= at_s for lost_s in self._lost_s)

    def lose(self, store: Store, now_s: float) -> None:
        """A store is gone. What only the nodes lost since the last calm held may be lost."""
        store.lost = True
        self.ever_lost = True
        self._lost_since_calm_s.append(now_s)
        self._lost_s.append(now_s)
        for fact in self._all():
            if sum(lost_s >= fact.at_s for lost_s in self._lost_since_calm_s) >= fact.holders:
                fact.safe = False

    def fall_back(self, store: Store, node: bytes, seq: int, now_s: float) -> None:
        """A store fell back to where its node had written ``seq``: what followed is lost here."""
        self.nodes_fallen_back.add(node)
        for (where, writer, number), fact in self._by_seq.items():
            if where is store and writer == node and number > seq:
                fact.store = Store(store.host, -1, lost=True)
        self.lose(Store(store.host, -1), now_s)

    def calm(self) -> None:
        """Everything is everywhere again."""
        self._lost_since_calm_s.clear()

    def _all(self) -> list[Fact]:
        return [fact for facts in self.facts.values() for fact in facts]
