"""Who may send changes directly, and that the answer waits for the commit."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from clustersession.core.errors import ReplicaFull, WireError
from clustersession.core.feed import Batch
from clustersession.core.identity import Phase
from clustersession.core.state import Change, Creation, Delta, delta_since
from clustersession.node.effects import BeginAgain
from clustersession.node.engine import Engine
from clustersession.node.journaling import SYNC_S, Journaling
from clustersession.node.life import Life
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from clustersession.wire import messages as m
from clustersession.wire.journal import JournalCopies, JournalEntry
from tests.node.lives import WALL_MS, FakeLink, at, life_over, peer, taken

PEER = peer("b")
ASKER = b"a worker"
KEY = "1" + "k" * 22


@pytest.fixture
def theirs() -> Replica:
    """The peer's replica, with a session."""
    replica = open_memory(PEER.node, clock_skew_ms_max=300_000)
    creation = Creation(WALL_MS, WALL_MS + 10**8, 0)
    replica.commit([Change(KEY, WALL_MS, {"a": b"1"}, creation=creation)], WALL_MS)
    return replica


@pytest.fixture
def life(theirs: Replica) -> Life[FakeLink]:
    """A ready node that is linked with the peer and has received its session."""
    life = life_over()
    engine = life.engine
    life.accepted(FakeLink(PEER), at())
    engine.receiver.finish_loading({}, at())
    engine.context.phase = Phase.READY
    known = engine.context.peers[PEER.node]
    known.greeted, known.phase = True, Phase.READY
    engine.context.replica.apply(theirs.feed(0, 0, 2**20), WALL_MS)
    taken(life)
    return life


def change(theirs: Replica, value: bytes = b"2") -> m.DirectChange:
    """A change there, as its worker sends it."""
    before = theirs.head()
    committed = theirs.commit([Change(KEY, WALL_MS, {"a": value})], WALL_MS)
    state = committed.states[0]
    assert state is not None
    delta = Delta(KEY, delta_since(KEY, state, theirs.node, before).state, full=False)
    head = committed.head
    return m.DirectChange(Batch(theirs.node, before, head - 1, head, head, [delta]), 7)


class Appended:
    """A journal that remembers which changes were appended."""

    def __init__(self) -> None:
        self.copies: list[JournalCopies] = []

    def append(self, entries: Sequence[JournalEntry]) -> None:
        self.copies += [entry for entry in entries if isinstance(entry, JournalCopies)]


def journaled(life: Life[FakeLink]) -> Appended:
    """Give the node a journal."""
    context, journal = life.engine.context, Appended()
    context.journal = Journaling(context.settings, context.replica, journal)
    context.journal.bind(lambda effect: None, lambda: None)
    return journal


def answer(engine: Engine, message: m.Message) -> m.DirectAnswer:
    said = m.decode_message(engine.receive_direct(ASKER, m.encode_message(message), at()))
    assert isinstance(said, m.DirectAnswer)
    assert (said.asker, said.number) == (ASKER, 7)
    return said


def held(engine: Engine) -> bytes | None:
    state = engine.context.replica.get(KEY)
    return None if state is None else state.registers["a"].value


def test_a_change_is_committed_when_it_is_answered(life: Life[FakeLink], theirs: Replica) -> None:
    assert answer(life.engine, change(theirs)).taken
    assert held(life.engine) == b"2"
    changes = life.engine.direct_changes
    assert (changes.taken, changes.refused) == (1, 0)


def test_what_is_taken_is_in_the_journal_when_it_is_answered(
    life: Life[FakeLink], theirs: Replica
) -> None:
    """The stream may never bring it: whoever wrote it may be gone in the next moment."""
    journal, message = journaled(life), change(theirs)
    assert answer(life.engine, message).taken
    assert journal.copies == [JournalCopies(0, message.batch.deltas)]
    assert life.engine.context.journal.next_deadline() <= at().now_s + SYNC_S


def test_what_is_refused_is_not_in_the_journal(life: Life[FakeLink], theirs: Replica) -> None:
    """Put together again, the session would claim to hold the write in between."""
    journal = journaled(life)
    change(theirs)
    assert not answer(life.engine, change(theirs)).taken
    assert journal.copies == []


def test_what_is_not_stored_is_not_taken(
    life: Life[FakeLink], theirs: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(batch: Batch, wall_ms: int) -> bool:
        raise ReplicaFull("full")

    monkeypatch.setattr(life.engine.context.replica, "take", full)
    assert not answer(life.engine, change(theirs)).taken
    assert life.engine.direct_changes.refused == 1


def test_a_node_that_is_not_linked_is_refused(life: Life[FakeLink], theirs: Replica) -> None:
    (link,) = life.connections
    life.closed(link, at())
    assert not answer(life.engine, change(theirs)).taken
    assert held(life.engine) == b"1"


def test_a_node_that_has_not_settled_is_refused(life: Life[FakeLink], theirs: Replica) -> None:
    life.engine.context.peers[PEER.node].phase = Phase.JOINING
    assert not answer(life.engine, change(theirs)).taken


def test_a_node_that_loads_takes_nothing(life: Life[FakeLink], theirs: Replica) -> None:
    life.engine.receiver.loaded = False
    assert not answer(life.engine, change(theirs)).taken
    assert held(life.engine) == b"1"


def test_a_node_whose_clock_is_far_ahead_is_refused(
    life: Life[FakeLink], theirs: Replica
) -> None:
    member = life.engine.membership.get(PEER.node)
    assert member is not None
    member.skew_ms = 10**9
    assert not answer(life.engine, change(theirs)).taken


def test_only_a_change_is_taken(life: Life[FakeLink], theirs: Replica) -> None:
    batch = change(theirs).batch
    for message in (m.Changes(batch, True), m.Ping(1)):
        with pytest.raises(WireError):
            life.engine.receive_direct(ASKER, m.encode_message(message), at())
    assert held(life.engine) == b"1"


def test_a_change_by_group_or_by_connection_is_no_message(
    life: Life[FakeLink], theirs: Replica
) -> None:
    data = m.encode_message(change(theirs))
    for reliable in (True, False):
        life.engine.receive(PEER.node, data, at(), reliable=reliable)
    assert held(life.engine) == b"1"


def copies(theirs: Replica) -> m.DirectChange:
    """The session there, whole, as its agent sends it."""
    change(theirs)
    state, head = theirs.get(KEY), theirs.head()
    assert state is not None
    batch = Batch(theirs.node, 0, head - 1, head, head, [Delta(KEY, state, full=True)])
    return m.DirectChange(batch, 7)


def answers(engine: Engine, message: m.Message) -> list[m.DirectAnswer]:
    """What the peer is answered by connection."""
    engine.context.effects.clear()
    engine.receive(PEER.node, m.encode_message(message), at(), reliable=True)
    data = [effect.data for effect in engine.context.effects]  # type: ignore[union-attr]
    return [one for one in map(m.decode_message, data) if isinstance(one, m.DirectAnswer)]


def test_whole_copies_come_by_connection(life: Life[FakeLink], theirs: Replica) -> None:
    own = m.DirectAnswer(PEER.node, 7, True)
    journal, message = journaled(life), copies(theirs)
    before = life.engine.context.replica.cursors()
    assert answers(life.engine, message) == [own]
    assert held(life.engine) == b"2"
    assert life.engine.context.replica.cursors() == before
    assert journal.copies == [JournalCopies(0, message.batch.deltas)]


def test_a_worker_sends_no_whole_copies(life: Life[FakeLink], theirs: Replica) -> None:
    """Of what they say of our own writes nobody would be the judge."""
    assert not answer(life.engine, copies(theirs)).taken
    assert held(life.engine) == b"1"


def test_nobody_sends_copies_out_of_the_feed_of_another(
    life: Life[FakeLink], theirs: Replica
) -> None:
    message = copies(theirs)
    strange = replace(message, batch=replace(message.batch, sender=b"c" * 8))
    assert answers(life.engine, strange) == []
    assert held(life.engine) == b"1"


def test_copies_with_a_write_of_ours_that_we_do_not_remember_show_that_our_past_is_lost(
    life: Life[FakeLink], theirs: Replica
) -> None:
    message = copies(theirs)
    (delta,) = message.batch.deltas
    versions = {**delta.state.versions, life.engine.context.own.node: 99}
    known = replace(delta, state=replace(delta.state, versions=versions))
    engine = life.engine
    engine.context.effects.clear()
    ahead = replace(message, batch=replace(message.batch, deltas=[known]))
    engine.receive(PEER.node, m.encode_message(ahead), at(), reliable=True)
    assert engine.context.effects == [BeginAgain()]


def test_an_end_is_left_to_the_stream_where_it_has_to_be_on_the_disk(
    life: Life[FakeLink], theirs: Replica
) -> None:
    theirs.commit([Change(KEY, WALL_MS, end="invalidated")], WALL_MS)
    state, head = theirs.get(KEY), theirs.head()
    assert state is not None
    batch = Batch(theirs.node, 0, head - 1, head, head, [Delta(KEY, state, full=True)])
    message = m.DirectChange(batch, 7)
    journal = life.engine.context.journal
    journaled(life)
    assert not answers(life.engine, message)[0].taken
    life.engine.context.journal = journal
    assert answers(life.engine, message)[0].taken


def test_the_peer_is_told_what_we_know_beyond_our_cursor(
    life: Life[FakeLink], theirs: Replica
) -> None:
    """So that it learns that it has lost its past, should it not remember that place."""
    engine = life.engine
    assert answer(engine, change(theirs)).taken
    engine.context.effects.clear()
    engine.receiver.announce(engine.context.peers[PEER.node])
    (effect,) = engine.context.effects
    said = m.decode_message(effect.data)  # type: ignore[union-attr]
    assert isinstance(said, m.Progress)
    assert (said.resume, said.known) == (True, 2)
    assert said.cursor.position < 2


def test_a_change_that_is_sent_twice_is_taken_twice(life: Life[FakeLink], theirs: Replica) -> None:
    message = change(theirs)
    assert answer(life.engine, message).taken
    assert answer(life.engine, message).taken
    assert held(life.engine) == b"2"
