"""The connection with the store: it begins with a beat, proves who we are, and may hang."""

from clustersession.core.errors import ReplicaError
from clustersession.core.feed import Cursor
from clustersession.core.identity import Phase
from clustersession.node import news
from clustersession.node.effects import BeginAgain, Dial, Multicast, Send
from clustersession.node.store_calls import STORE, Beat, Merge
from clustersession.replica.opening import open_memory
from clustersession.wire.messages import Heartbeat, decode_message
from tests.node.stored import NODE, Stored, creating, elsewhere, key


def test_the_first_word_is_a_beat_and_nothing_goes_before_its_answer() -> None:
    node = Stored()
    node.slow = True
    node.write(key(1), create=True, x=b"1")
    node.up()
    (first,) = node.asked
    (beat,) = first.calls
    assert isinstance(beat, Beat)
    assert isinstance(decode_message(beat.data), Heartbeat)
    assert not node.engine.context.peers
    node.slow = False
    node.answer()
    node.pump()
    assert list(node.engine.context.peers) == [STORE]
    assert node.store.sessions.keys() == {key(1)}


def test_it_begins_again_after_a_long_outage() -> None:
    node = Stored().up()
    node.down()
    node.wait(5.0)
    assert not node.engine.context.peers
    node.up()
    assert list(node.engine.context.peers) == [STORE]


def test_it_beats_at_each_interval_and_talks_to_nobody_else() -> None:
    node = Stored().up()
    before = len(node.asked)
    node.wait(5.0)
    assert 9 <= len(node.calls(Beat, before)) <= 14
    assert not [e for e in node.done if isinstance(e, Dial | Multicast | Send)]


def test_a_cursor_beyond_our_feed_proves_a_lost_past() -> None:
    node = Stored()
    node.store.cursors[NODE] = Cursor(0, 5)
    node.write(key(1), create=True, x=b"1")
    node.up()
    assert news.PastLost(STORE) in node.told
    assert BeginAgain() in node.done
    assert node.calls(Merge) == []


def test_a_cursor_beyond_the_opening_proves_it_though_the_feed_has_grown_again() -> None:
    replica = open_memory(NODE, clock_skew_ms_max=300_000)
    replica.note_opening()
    node = Stored(replica)
    node.store.cursors[NODE] = Cursor(1, 1)
    node.write(key(1), create=True, x=b"1")
    node.write(key(1), x=b"2")
    node.up()
    assert BeginAgain() in node.done


def test_it_is_proved_again_as_long_as_no_new_life_has_begun() -> None:
    node = Stored()
    node.store.cursors[NODE] = Cursor(0, 5)
    node.up()
    before = node.done.count(BeginAgain())
    node.wait(2.0)
    assert node.done.count(BeginAgain()) > before


def test_a_copy_with_writes_of_ours_that_we_do_not_remember_proves_it() -> None:
    node = Stored().up()
    replica = open_memory(NODE, clock_skew_ms_max=300_000)
    replica.commit([creating(key(1), x=b"1")], node.at().wall_ms)
    state = replica.get(key(1))
    assert state is not None
    node.store.sessions[key(1)] = state
    node.fetch(7, key(1))
    assert BeginAgain() in node.done


def test_a_new_life_goes_on_with_the_connection_and_hears_no_old_answers() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    node.slow = True
    node.fetch(7, key(2))
    (old,) = [ask.number for ask in node.owed]
    before = node.engine
    node.replica.renew_identity(b"new node", 0)
    fresh = Stored(node.replica)
    fresh.store = node.store
    fresh.engine.succeed(before, fresh.at())
    fresh.pump()
    assert old not in [ask.number for ask in fresh.asked]
    assert list(fresh.engine.context.peers) == [STORE]
    fresh.engine.store_answered(old, [None], fresh.at())
    assert fresh.store.sessions.keys() == {key(1)}


def test_a_store_that_says_nothing_is_dropped() -> None:
    node = Stored().up()
    node.slow = True
    node.wait(2.5)
    assert not node.dropped
    node.wait(2.0)
    assert node.dropped


def test_an_idle_store_is_not_dropped() -> None:
    node = Stored().up()
    node.wait(60.0)
    assert not node.dropped


def test_goodbye_is_a_beat_without_a_word() -> None:
    node = Stored().up()
    node.engine.leave(node.at())
    node.pump()
    *_, last = node.calls(Beat)
    assert isinstance(last, Beat)
    assert last.data == b""
    assert node.engine.context.phase is Phase.LEAVING


def test_what_the_replica_fails_at_is_asked_for_again_on_another_connection(monkeypatch) -> None:
    node = Stored().up()
    node.store.sessions = elsewhere([creating(key(1), x=b"1")])

    def fails(*_: object) -> int:
        raise ReplicaError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(node.replica, "merge", fails)
        node.fetch(7, key(1))
    assert node.dropped == 1
    assert any(isinstance(told, news.ReplicaFailed) for told in node.told)
