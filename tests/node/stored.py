"""A node with a store that does what a script says: answers at once, late, or not at all."""

from collections.abc import Callable, Sequence

from clustersession.core.feed import Cursor
from clustersession.core.identity import Address, Identity, Phase, first_incarnation
from clustersession.core.revocation import principal_tag
from clustersession.core.state import Change, Creation, Delta, SessionState, apply_delta
from clustersession.node.effects import AskStore, Confirmed, DropStore, Effect, FetchAnswered
from clustersession.node.engine import Engine
from clustersession.node.moment import Moment
from clustersession.node.news import News
from clustersession.node.store_calls import (
    Beat,
    Beats,
    Damaged,
    Enter,
    Forget,
    IndexEntry,
    KeepCursor,
    Merge,
    MergeAnswer,
    Read,
    ReadIndex,
    StoreAnswer,
    StoreCall,
    Told,
)
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings
from clustersession.wire.messages import Heartbeat, encode_message

NODE = b"our node"
OTHER = b"the next"
WALL_MS = 1_800_000_000_000
STEP_S = 0.01


class FakeStore:
    """What a store holds. ``refuses``: the answer to a merge, where it is not the true one.

    members: all are followed but those gone. silence_ms: who knows the edition is answered this
    alone.
    """

    def __init__(self) -> None:
        self.sessions: dict[str, SessionState] = {}
        self.cursors: dict[bytes, Cursor] = {}
        self.members: dict[bytes, tuple[bytes, int]] = {}
        self.edition = b"one"
        self.silence_ms: int | None = None
        self.gone: set[bytes] = set()
        self.indexes: dict[bytes, dict[IndexEntry, int]] = {}
        # The users in the place of whose index something else stands, until it is told.
        self.damaged_indexes: set[bytes] = set()
        self.memory = b"first"
        self.wall_ms = WALL_MS
        self.refuses: Callable[[Merge], MergeAnswer | None] = lambda call: None

    def answer(self, call: StoreCall) -> StoreAnswer:
        """Do one call."""
        match call:
            case Merge(key, state, whole):
                refused = self.refuses(call)
                if refused is not None:
                    return refused
                joined = apply_delta(self.sessions.get(key), Delta(key, state, whole))
                if joined is None:
                    return MergeAnswer.WHOLE_COPY_WANTED
                changed = joined != self.sessions.get(key)
                self.sessions[key] = joined
                return MergeAnswer.DONE if changed else MergeAnswer.SAME
            case Read(key):
                return self.sessions.get(key)
            case Enter(tag, entry, until_ms):
                if tag in self.damaged_indexes:
                    self.damaged_indexes.remove(tag)
                    self.indexes.pop(tag, None)
                entries = self.indexes.setdefault(tag, {})
                changed = entries.get(entry, 0) < until_ms
                entries[entry] = max(entries.get(entry, 0), until_ms)
                return MergeAnswer.DONE if changed else MergeAnswer.SAME
            case ReadIndex(tag):
                if tag in self.damaged_indexes:
                    return Damaged()
                return tuple(self.indexes.get(tag, ()))
            case Forget(tag, forgotten):
                for entry in forgotten:
                    self.indexes.get(tag, {}).pop(entry, None)
                return None
            case KeepCursor(node, cursor):
                self.cursors[node] = cursor
                return None
            case Beat():
                return self._beats(call)

    def _beats(self, call: Beat) -> Beats:
        cursor = self.cursors.get(call.node)
        if self.silence_ms is not None and call.known == self.edition:
            return Beats(
                self.wall_ms, self.memory, cursor, None, self.edition, self.silence_ms
            )
        members = {
            node: Told(*told, is_followed=node not in self.gone)
            for node, told in self.members.items()
        }
        return Beats(self.wall_ms, self.memory, cursor, members, self.edition)


class Stored:
    """One node. ``asked``: all groups so far; ``owed``: those without an answer while ``slow``."""

    def __init__(self, replica: Replica | None = None, **settings: object) -> None:
        self.store = FakeStore()
        self.replica = replica or open_memory(NODE, clock_skew_ms_max=300_000)
        self.now_s = 0.0
        self.slow = False
        self.asked: list[AskStore] = []
        self.owed: list[AskStore] = []
        self.done: list[Effect] = []
        self.told: list[News] = []
        own = Identity(self.replica.node, first_incarnation(2), "a", Address("10.0.0.1", 4000))
        values: dict[str, object] = {
            "distributable": True, "route": "a", "store": "valkey://store", **settings,
        }
        self.engine = Engine(
            Settings(**values), self.replica, own,  # type: ignore[arg-type]
            multicast=False, choose=lambda below: 0,
        )
        self.engine.start(self.at())

    def at(self) -> Moment:
        """Now."""
        return Moment(self.now_s, WALL_MS + round(self.now_s * 1000))

    def up(self) -> "Stored":
        """A connection begins."""
        self.engine.store_up(self.at())
        self.pump()
        return self

    def down(self) -> None:
        """It breaks."""
        self.owed.clear()
        self.engine.store_down(self.at())
        self.pump()

    def pump(self) -> None:
        """Carry out what the node wants until it wants nothing more."""
        while effects := self.engine.effects():
            for effect in effects:
                if isinstance(effect, AskStore):
                    self.asked.append(effect)
                    self.owed.append(effect)
                else:
                    self.done.append(effect)
            if not self.slow:
                self.answer()
        self.told += self.engine.news()

    def answer(self) -> None:
        """MergeAnswer what is owed, in order."""
        owed, self.owed = self.owed, []
        for ask in owed:
            answers = [self.store.answer(call) for call in ask.calls]
            self.engine.store_answered(ask.number, answers, self.at())

    def wait(self, seconds: float) -> None:
        """Time passes."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += STEP_S
            if self.engine.next_deadline() <= self.now_s:
                self.engine.handle_timer(self.at())
            self.pump()

    def write(self, key: str, *, create: bool = False, **values: bytes) -> int:
        """A worker commits; returns the place in the feed."""
        creation = Creation(WALL_MS, WALL_MS + 86_400_000, 1_800_000) if create else None
        sets = {name.replace("principal", "\0principal"): value for name, value in values.items()}
        return self.commit(Change(key, self.at().wall_ms, sets, creation=creation))

    def commit(self, change: Change) -> int:
        """A worker commits anything."""
        head = self.replica.commit([change], self.at().wall_ms).head
        self.engine.feed_moved(self.at())
        self.pump()
        return head

    def confirm(self, token: int, seq: int) -> None:
        """A worker waits for its write."""
        self.engine.confirm(token, seq, all_peers=False, deadline_s=self.now_s + 1.0)
        self.engine.feed_moved(self.at())
        self.pump()

    def fetch(self, token: int, key: str) -> None:
        """A worker misses a session."""
        self.engine.fetch(token, key, {}, self.at())
        self.pump()

    def gather(self, token: int, principal: str) -> None:
        """A worker wants all sessions of a user."""
        self.engine.gather(token, principal_tag(principal), self.at())
        self.pump()

    def changed(self, *keys: str) -> None:
        """The store says that somebody else has changed something."""
        self.engine.store_changed(keys, self.at())
        self.pump()

    def calls(self, kind: type, since: int = 0) -> list[StoreCall]:
        """All calls of a kind so far."""
        return [call for ask in self.asked[since:] for call in ask.calls if isinstance(call, kind)]

    def confirmed(self, token: int) -> int | None:
        """What the worker was told that waited for a write."""
        return next(
            (e.confirmations for e in self.done if isinstance(e, Confirmed) and e.token == token),
            None,
        )

    def found(self, token: int) -> bool | None:
        """What the worker was told that misses a session."""
        return next(
            (e.found for e in self.done if isinstance(e, FetchAnswered) and e.token == token), None
        )

    @property
    def dropped(self) -> int:
        """How often the node gave a connection up."""
        return sum(isinstance(effect, DropStore) for effect in self.done)


def key(number: int) -> str:
    """A key of a session."""
    return f"1{number:022d}"


def elsewhere(changes: Sequence[Change]) -> dict[str, SessionState]:
    """What another node has of sessions after some changes."""
    replica = open_memory(OTHER, clock_skew_ms_max=300_000)
    for change in changes:
        replica.commit([change], WALL_MS)
    states = {name: replica.get(name) for name in replica.keys("", 1000)}
    return {name: state for name, state in states.items() if state is not None}


def creating(name: str, **values: bytes) -> Change:
    """A session begins."""
    sets = {word.replace("principal", "\0principal"): value for word, value in values.items()}
    creation = Creation(WALL_MS, WALL_MS + 86_400_000, 1_800_000)
    return Change(name, WALL_MS, sets, creation=creation)


def beat_of(
    name: str, number: int = 1, phase: Phase = Phase.READY, *, serving: bool = True
) -> tuple[bytes, bytes]:
    """A node, and what it leaves in the store."""
    node = name.encode() * 8
    identity = Identity(node, first_incarnation(number), name, Address(f"10.0.1.{ord(name)}", 4000))
    heartbeat = Heartbeat(
        identity, 1000, phase, serving, WALL_MS, 7, 0, {}, (), (), (), asks=False
    )
    return node, encode_message(heartbeat)
