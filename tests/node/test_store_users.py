"""Whoever asks for the sessions of a user has those of the whole cluster here, or hears no."""

from clustersession.core.errors import ReplicaFull
from clustersession.core.revocation import principal_tag, revocation_key, revoke
from clustersession.core.state import ENDED_REVOKED, PRINCIPAL, Change, SessionState
from clustersession.node.store_calls import Enter, Forget, IndexEntry, Read
from tests.node.stored import WALL_MS, Stored, creating, elsewhere, key

TAG = principal_tag("ann")


def entry(name: str, state: SessionState) -> IndexEntry:
    time, node, seq, _ = state.registers[PRINCIPAL]
    return IndexEntry(name, (time, node, seq))


def with_sessions(count: int = 2, **settings: object) -> Stored:
    """A node beside a store in which another one has left sessions of ann."""
    node = Stored(**settings).up()
    node.store.sessions = elsewhere([creating(key(n), principal=b"ann") for n in range(count)])
    node.store.indexes[TAG] = {
        entry(name, state): 2**50 for name, state in node.store.sessions.items()
    }
    return node


def listed(node: Stored) -> list[str]:
    return sorted(name for name, _ in node.replica.sessions_of("ann"))


def test_sessions_of_other_hosts_are_brought_here() -> None:
    node = with_sessions(150)
    node.gather(7, "ann")
    assert node.found(7) is True
    assert listed(node) == sorted(node.store.sessions)


def test_who_has_no_session_is_known_to_have_none() -> None:
    node = Stored().up()
    node.gather(7, "ann")
    assert node.found(7) is True
    assert listed(node) == []


def test_what_is_here_is_not_read_again() -> None:
    node = with_sessions()
    node.gather(7, "ann")
    since = len(node.asked)
    node.gather(8, "ann")
    assert node.found(8) is True
    assert node.calls(Read, since) == []


def test_a_session_is_read_again_that_was_asked_for_before_it_was_there() -> None:
    """A request has missed it a moment ago, and the store was asked before it had it."""
    node = with_sessions(0)
    node.slow = True
    node.fetch(6, key(1))
    node.answer()
    node.fetch(6, key(1))
    [early], node.owed = node.owed[-1:], []
    node.store.sessions = elsewhere([creating(key(1), principal=b"ann")])
    node.store.indexes[TAG] = {entry(key(1), node.store.sessions[key(1)]): 2**50}
    node.gather(7, "ann")
    node.answer()
    node.pump()
    node.engine.store_answered(early.number, [None], node.at())
    node.slow = False
    node.pump()
    node.answer()
    node.pump()
    assert node.found(7) is True
    assert listed(node) == [key(1)]


def test_a_session_of_a_revoked_user_is_not_listed() -> None:
    node = with_sessions()
    # Not before the logins, by the clock of its host.
    before = [creating(key(number)) for number in range(5, 9)]
    told = elsewhere([*before, revoke("ann", "", WALL_MS, 86_400_000)])
    node.store.sessions[revocation_key(TAG)] = told[revocation_key(TAG)]
    node.gather(7, "ann")
    assert node.found(7) is True
    assert listed(node) == []


def test_entries_of_what_is_over_are_taken_out() -> None:
    node = with_sessions(3)
    node.gather(7, "ann")
    entries = {e.key: e for e in node.store.indexes[TAG]}
    node.commit(Change(key(0), WALL_MS + 1, end=ENDED_REVOKED))
    node.write(key(1), principal=b"bob")
    since = len(node.asked)
    node.gather(8, "ann")
    [forgotten] = node.calls(Forget, since)
    assert isinstance(forgotten, Forget)
    assert set(forgotten.entries) == {entries[key(0)], entries[key(1)]}
    assert {e.key for e in node.store.indexes[TAG]} == {key(2)}


def test_an_entry_stays_whose_session_is_on_its_way_to_the_store() -> None:
    node = with_sessions(1)
    coming = node.store.sessions.pop(key(0))
    node.gather(7, "ann")
    assert node.found(7) is True
    assert listed(node) == []
    node.store.sessions[key(0)] = coming
    node.gather(8, "ann")
    assert listed(node) == [key(0)]


def test_a_store_that_is_away_makes_nobody_wait() -> None:
    node = with_sessions()
    node.down()
    node.gather(7, "ann")
    assert node.found(7) is False


def test_a_store_that_goes_away_answers_who_waits() -> None:
    node = with_sessions()
    node.slow = True
    node.gather(7, "ann")
    assert node.found(7) is None
    node.down()
    assert node.found(7) is False


def test_a_store_that_says_nothing_is_waited_for_so_long_and_by_one_only() -> None:
    node = with_sessions(fetch_timeout_s=0.25)
    node.slow = True
    node.gather(7, "ann")
    node.wait(0.2)
    assert node.found(7) is None
    node.wait(0.1)
    assert node.found(7) is False
    node.gather(8, "ann")
    assert node.found(8) is False


def test_a_list_for_which_there_is_no_space_is_not_whole() -> None:
    node = with_sessions()

    def full(*_: object) -> None:
        raise ReplicaFull("full")

    merge, node.replica.merge = node.replica.merge, full  # type: ignore[method-assign, assignment]
    node.gather(7, "ann")
    assert node.found(7) is False
    node.replica.merge = merge  # type: ignore[method-assign]
    node.wait(2.0)
    node.gather(8, "ann")
    assert node.found(8) is True


def test_what_somebody_looks_at_does_not_leave() -> None:
    node = with_sessions(near_cache_idle_s=1.0)
    node.gather(7, "ann")
    stays = node.engine.store.near_cache.stays if node.engine.store else None
    state = node.replica.get(key(0))
    assert stays is not None
    assert state is not None
    assert stays.holds(key(0), state, node.at(), crowded=False)
    node.wait(7.0)
    assert not stays.holds(key(0), state, node.at(), crowded=False)


def test_a_damaged_index_is_no_list_and_is_told_anew() -> None:
    node = Stored().up()
    node.write(key(1), create=True, principal=b"ann")
    told = len(node.asked)
    node.store.damaged_indexes = {TAG}
    node.gather(7, "ann")
    assert node.found(7) is False
    assert [note.entry.key for note in node.calls(Enter, told)] == [key(1)]
    node.gather(8, "ann")
    assert node.found(8) is True
    assert len(node.calls(Enter, told)) == 1
