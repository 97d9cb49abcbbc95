"""A world whose nodes have journals in memory, which a test may keep from being synced."""

from collections.abc import Sequence
from dataclasses import replace

from clustersession.core.identity import Identity
from clustersession.core.state import SessionState
from clustersession.node import effects
from clustersession.node.engine import Engine
from clustersession.node.journal_port import NEW_JOURNAL, JournalPage, JournalPast
from clustersession.wire.journal import JournalCopies, JournalEntry, JournalLife, JournalMembers
from tests.node.world import LATENCY_S, Node, World


class MemoryJournal:
    """What one node has appended. stuck: syncs are not answered. waiting: what it is to recover."""

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []
        self.past: JournalPast = NEW_JOURNAL
        self.stuck = False
        self.waiting: dict[str, SessionState] = {}
        self.over = 0

    def append(self, entries: Sequence[JournalEntry]) -> None:
        self.entries += entries

    def keys(self) -> list[str]:
        """The sessions of all changes in it, in order."""
        return [
            delta.key for entry in self.entries if isinstance(entry, JournalCopies)
            for delta in entry.deltas
        ]

    def members(self) -> set[str]:
        """The routes on the newest list."""
        lists = [entry for entry in self.entries if isinstance(entry, JournalMembers)]
        return set(lists[-1].members.values()) if lists else set()

    def life(self) -> JournalLife:
        """The newest life."""
        return [entry for entry in self.entries if isinstance(entry, JournalLife)][-1]


class JournalWorld(World):
    """Syncs take a millisecond, and so does reading a page of one session."""

    def __init__(self, names: str = "ab", **settings: object) -> None:
        self.journals: dict[str, MemoryJournal] = {}
        super().__init__(names, **settings)

    def add(self, name: str) -> Node:
        self.journals[name] = MemoryJournal()
        return super().add(name)

    def new_engine(self, node: Node, own: Identity) -> Engine:
        journal = self.journals[node.name]
        return Engine(
            self.settings, node.replica, own, multicast=self.multicast, choose=lambda n: 0,
            journal=journal, past=journal.past,
        )

    def cut_power(self, *names: str) -> None:
        """All of their replicas is lost; what the journal has is to be recovered."""
        lost: list[Node] = []
        for name in names:
            node, journal = self.nodes[name], self.journals[name]
            lists = [e for e in journal.entries if isinstance(e, JournalMembers)]
            life = journal.life()
            journal.past = JournalPast(
                life.node, tuple(life.former), dict(lists[-1].members) if lists else {},
                waiting=True,
            )
            page = node.replica.snapshot("", 2**40)
            journal.waiting = dict(page.sessions)
            lost.append(node)
        for node in lost:
            self.kill(node.name)
        self.run(0.01)
        for node in lost:
            self.wipe(node.name)

    def change_past(self, name: str, **fields: object) -> None:
        """Have a journal say something else of its past."""
        self.journals[name].past = replace(self.journals[name].past, **fields)  # type: ignore

    def confirm_end(self, name: str, seq: int) -> int:
        """Wait for a commit that ends a session."""
        node, token = self.nodes[name], next(self._tokens)
        node.running.confirm(
            token, seq, all_peers=False, deadline_s=self.now_s + 5, ends=True
        )
        self.feed_moved(name)
        return token

    def synced(self, name: str) -> None:
        """Answer every sync that a stuck disk owes."""
        journal, node = self.journals[name], self.nodes[name]
        journal.stuck = False
        numbers = [effect.number for effect in node.seen(effects.SyncJournal)]
        node.running.journal_synced(max(numbers, default=0), self.at(node))
        self._pump(node)

    def dismiss(self, name: str, *nodes: bytes) -> None:
        node = self.nodes[name]
        node.running.dismiss(nodes, self.at(node))
        self._pump(node)

    def stage(self, name: str) -> str:
        return self.nodes[name].running.recovery.stage.value

    def _pump(self, node: Node) -> None:
        seen = len(node.events)
        super()._pump(node)
        journal, engine = self.journals[node.name], node.engine
        for event in node.events[seen:]:
            match event:
                case effects.SyncJournal(number) if not journal.stuck:
                    self._call(node, engine, lambda e, n=number: e.journal_synced(n, self.at(node)))
                case effects.LoadRecovered(ends, after_key):
                    page = self._page(journal, ends, after_key)
                    self._call(node, engine, lambda e, p=page: e.recovered(p, self.at(node)))
                case effects.RecoveryOver():
                    journal.over += 1

    def _call(self, node: Node, engine: Engine | None, act) -> None:  # type: ignore[no-untyped-def]
        def then() -> None:
            if engine is not None and node.engine is engine:
                act(engine)
                self._pump(node)

        self._later(LATENCY_S, then)

    def _page(self, journal: MemoryJournal, ends: bool, after_key: str) -> JournalPage:
        keys = [
            key for key in sorted(journal.waiting) if key > after_key
            and (not ends or journal.waiting[key].ended is not None)
        ]
        chosen = keys[:1]
        sessions = [(key, journal.waiting[key]) for key in chosen]
        return JournalPage(ends, after_key, sessions, (chosen or [after_key])[-1], len(keys) <= 1)


def formed_with_journals(names: str = "ab", **settings: object) -> JournalWorld:
    """A cluster whose nodes have met."""
    world = JournalWorld(names, **settings)
    world.start()
    world.run_until(lambda: all(n.phase() == "READY" for n in world.nodes.values()))
    world.run(1.5)
    return world
