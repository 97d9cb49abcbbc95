"""What is appended, when it is synced, and that no end is confirmed before."""

import pytest

from clustersession.core.feed import START
from clustersession.core.state import Delta
from clustersession.node import effects, journaling
from clustersession.node.journal_port import JournalPast
from clustersession.node.journaling import Journaling
from clustersession.wire.journal import JournalCopies
from tests.node.journals import formed_with_journals
from tests.node.world import key


def test_what_a_peer_sends_is_appended_at_once_and_synced_in_a_second() -> None:
    world = formed_with_journals()
    asked = len(world.nodes["b"].seen(effects.SyncJournal))
    world.write("a", key(1), create=True, x="1")
    world.run(0.1)
    assert world.values("b", key(1)) == {"x": "1"}
    assert world.journals["b"].keys() == [key(1)]
    assert len(world.nodes["b"].seen(effects.SyncJournal)) == asked
    world.run(1.0)
    assert len(world.nodes["b"].seen(effects.SyncJournal)) == asked + 1


def test_what_is_refused_for_its_time_is_not_appended() -> None:
    """It would be in the replica that is made out of the journal."""
    world = formed_with_journals()
    world.write("a", key(1), create=True, x="1")
    node, state = world.nodes["b"], world.nodes["a"].replica.get(key(1))
    assert state is not None
    world.run(1.0)
    before, early = world.journals["b"].keys(), world.at(node)._replace(wall_ms=1)
    assert not node.running.context.journal.received([Delta(key(1), state, full=True)], early)
    assert world.journals["b"].keys() == before


def test_what_our_workers_write_is_appended_once_a_second() -> None:
    world = formed_with_journals()
    for number in range(5):
        world.write("a", key(1), create=number == 0, x=str(number))
        world.run(0.1)
    assert world.journals["a"].keys() == []
    world.run(1.0)
    copies = [e for e in world.journals["a"].entries if isinstance(e, JournalCopies)]
    assert [(c.own_upto, [d.key for d in c.deltas]) for c in copies] == [(5, [key(1)])]


def test_much_that_our_workers_write_is_appended_in_parts_and_synced_after_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journaling, "BATCH_DELTAS_MAX", 10)
    world = formed_with_journals()
    node, journal = world.nodes["a"], world.journals["a"]
    for number in range(100):
        world.write("a", key(number), create=True, x="1")
    asked = len(node.seen(effects.SyncJournal))
    world.run(1.2)
    copies = [e for e in journal.entries if isinstance(e, JournalCopies)]
    assert [len(c.deltas) for c in copies] == [10] * 10
    assert copies[-1].own_upto == 100
    # One is due for what was there a second ago, and one brings all of it to the disk.
    assert len(node.seen(effects.SyncJournal)) == asked + 2


def test_an_end_that_is_waited_for_is_brought_to_the_disk_after_all_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journaling, "BATCH_DELTAS_MAX", 10)
    world = formed_with_journals()
    for number in range(100):
        head = world.write("a", key(number), create=True, x="1")
    world.end("a", key(1))
    token = world.confirm_end("a", head + 1)
    world.run(0.1)
    assert world.answer("a", token) == 1
    assert world.journals["a"].keys()[-1] == key(1)


def test_a_sync_for_an_end_of_a_peer_does_not_put_off_what_is_ours() -> None:
    world = formed_with_journals()
    world.write("b", key(1), create=True, x="1")
    world.run(1.5)
    world.write("a", key(2), create=True, x="1")
    world.run(0.5)
    world.end("b", key(1))
    world.run(0.6)
    appended = world.journals["a"].keys()
    assert key(2) in appended


def test_a_new_session_that_a_peer_has_changed_is_appended_whole() -> None:
    """The peer's change came before there was anything to change in the journal."""
    world = formed_with_journals()
    world.write("a", key(1), create=True, x="1")
    world.run(0.1)
    world.write("b", key(1), y="2")
    world.run(2.0)
    copies = [e for e in world.journals["a"].entries if isinstance(e, JournalCopies)]
    assert [(d.full, sorted(d.state.registers)) for c in copies for d in c.deltas] == [
        (False, ["y"]), (True, ["\x00idle_ms", "x", "y"]),
    ]


def test_an_end_is_not_confirmed_before_a_peer_has_synced_it() -> None:
    world = formed_with_journals(ack_timeout_s=5.0)
    head = world.write("a", key(1), create=True, x="1")
    world.run(1.5)
    world.journals["b"].stuck = True
    world.end("a", key(1))
    token = world.confirm_end("a", head + 1)
    world.run(1.0)
    assert world.nodes["b"].replica.get(key(1)).ended is not None
    assert world.answer("a", token) is None
    world.synced("b")
    world.run(0.01)
    assert world.answer("a", token) == 1


def test_an_end_is_not_confirmed_before_our_own_disk_has_it() -> None:
    world = formed_with_journals()
    head = world.write("a", key(1), create=True, x="1")
    world.run(1.5)
    world.journals["a"].stuck = True
    world.end("a", key(1))
    token = world.confirm_end("a", head + 1)
    world.run(0.5)
    assert world.answer("a", token) is None
    world.synced("a")
    assert world.answer("a", token) == 1


def test_a_write_is_confirmed_though_the_disk_is_stuck() -> None:
    world = formed_with_journals()
    world.journals["a"].stuck = world.journals["b"].stuck = True
    token = world.confirm("a", world.write("a", key(1), create=True, x="1"))
    world.run(0.1)
    assert world.answer("a", token) == 1


def test_who_waits_for_an_end_waits_for_every_member() -> None:
    world = formed_with_journals("abc", ack_timeout_s=5.0)
    head = world.write("a", key(1), create=True, x="1")
    world.run(1.5)
    world.journals["c"].stuck = True
    world.end("a", key(1))
    token = world.confirm_end("a", head + 1)
    world.run(0.5)
    assert world.answer("a", token) is None
    world.synced("c")
    world.run(0.01)
    assert world.answer("a", token) == 2


def test_a_stuck_disk_is_waited_for_as_long_as_a_slow_peer() -> None:
    world = formed_with_journals(ack_timeout_s=1.0)
    head = world.write("a", key(1), create=True, x="1")
    world.run(1.5)
    world.journals["b"].stuck = True
    world.end("a", key(1))
    world.run(0.5)
    peer = world.nodes["a"].running.context.peers[world.nodes["b"].replica.node]
    assert peer.progress.confirmed.floor == head
    world.run(1.5)
    assert peer.progress.confirmed.floor == head + 1


def test_nobody_waits_for_a_journal_that_failed() -> None:
    world = formed_with_journals()
    head = world.write("a", key(1), create=True, x="1")
    world.run(1.5)
    world.journals["a"].stuck = True
    node = world.nodes["a"]
    world.end("a", key(1))
    token = world.confirm_end("a", head + 1)
    world.run(0.1)
    node.running.journal_failed(world.at(node))
    world._pump(node)
    assert world.answer("a", token) == 1
    appended = len(world.journals["a"].entries)
    world.write("b", key(2), create=True, x="1")
    world.run(2.0)
    assert len(world.journals["a"].entries) == appended


def test_an_agent_that_starts_tells_no_place_before_a_sync() -> None:
    """What the one before it applied may be in the kernel's memory only."""
    world = formed_with_journals()
    world.write("a", key(1), create=True, x="1")
    world.run(1.5)
    world.kill("b")
    world.run(0.1)
    a, b = (world.nodes[name].replica.node for name in "ab")
    world.journals["b"].past = JournalPast(b, (), {a: "a"})
    world.journals["b"].stuck = True
    world.start("b")
    world.run(0.5)
    peer = world.nodes["a"].running.context.peers[world.nodes["b"].replica.node]
    assert peer.progress.confirmed == START
    world.synced("b")
    world.run(0.1)
    assert peer.progress.confirmed.floor == 1


def test_only_ends_are_kept_where_that_is_asked_for() -> None:
    world = formed_with_journals(durability="end")
    world.write("a", key(1), create=True, x="1")
    world.end("a", key(1))
    world.write("a", key(2), create=True, x="1")
    world.run(2.0)
    assert set(world.journals["a"].keys()) == set(world.journals["b"].keys()) == {key(1)}


def test_copies_are_appended_before_the_replica_takes_them() -> None:
    """An agent that is killed between the two must not leave a journal that lacks something."""
    world = formed_with_journals()
    world.partition("a", "b")
    world.write("a", key(1), create=True, x="1")
    node, journal = world.nodes["b"], world.journals["b"]
    copy = (key(1), world.nodes["a"].replica.get(key(1)))
    known: list[bool] = []
    append = journal.append

    def watched(entries) -> None:  # type: ignore[no-untyped-def]
        known.append(node.replica.get(key(1)) is not None)
        append(entries)

    journal.append = watched  # type: ignore[method-assign]
    node.running.context.merge([copy], world.at(node))
    assert known == [False]


def test_an_answer_to_the_life_before_does_not_count() -> None:
    world = formed_with_journals()
    before = world.nodes["a"].running.context.journal
    numbers = [before.sync() for _ in range(3)]
    after = Journaling(world.settings, world.nodes["a"].replica, world.journals["a"])
    after.bind(lambda effect: None, lambda: None)
    after.succeed(before)
    assert after.sync() > max(numbers)
