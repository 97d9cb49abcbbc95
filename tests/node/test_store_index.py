"""The store's index names every live session of a user that the store has acknowledged."""

from clustersession.core.revocation import principal_tag
from clustersession.core.state import IDLE_TIMEOUT, PRINCIPAL, Change, SessionState, expires_ms
from clustersession.node.store_calls import Enter, IndexEntry, Merge, MergeAnswer, Read
from clustersession.node.store_index import StoreIndex
from clustersession.replica.opening import open_memory
from tests.node.stored import OTHER, WALL_MS, Stored, creating, elsewhere, key

TAG = principal_tag("ann")


def entry_of(state: SessionState, name: str) -> IndexEntry:
    time, node, seq, _ = state.registers[PRINCIPAL]
    return IndexEntry(name, (time, node, seq))


def names(node: Stored) -> set[str]:
    return {entry.key for entry in node.store.indexes.get(TAG, {})}


def test_a_login_is_noted_in_the_group_of_its_merge_and_before_it() -> None:
    node = Stored().up()
    before = len(node.asked)
    node.write(key(1), create=True, principal=b"ann")
    groups = [ask.calls for ask in node.asked[before:]]
    [group] = [calls for calls in groups if any(isinstance(call, Merge) for call in calls)]
    kinds = [type(call) for call in group]
    assert kinds.index(Enter) < kinds.index(Merge) < kinds.index(Read)
    assert names(node) == {key(1)}


def test_a_write_that_does_not_prolong_a_session_needs_no_entry() -> None:
    node = Stored().up()
    node.write(key(1), create=True, principal=b"ann")
    noted = len(node.calls(Enter))
    node.write(key(1), x=b"1")
    assert len(node.calls(Enter)) == noted
    node.commit(Change(key(1), WALL_MS + 60_000))
    node.wait(1.0)
    prolonged = node.calls(Enter)[noted:]
    assert all(isinstance(call, Enter) for call in prolonged)
    state = node.replica.get(key(1))
    assert state is not None
    assert max(node.store.indexes[TAG].values()) >= state.accessed_ms + 1_800_000


def test_a_guests_session_is_in_no_index() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    assert not node.calls(Enter)


def test_a_new_copy_is_confirmed_when_the_index_has_what_others_made_of_the_session() -> None:
    """Another host has logged somebody in, and had no time to note it."""
    node = Stored().up()
    login = elsewhere([creating(key(1), principal=b"ann")])[key(1)]
    node.store.answer(Merge(key(1), login, whole=True))
    node.slow = True
    head = node.write(key(1), create=True, x=b"1")
    node.confirm(7, head)
    while node.owed or node.engine.context.effects:
        assert node.confirmed(7) is None or names(node) == {key(1)}
        node.pump()
        node.answer()
    node.pump()
    assert node.confirmed(7) == 1
    assert names(node) == {key(1)}


def test_the_index_has_what_others_made_of_a_session_when_that_is_heard_of() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    login = elsewhere([creating(key(1), principal=b"ann")])[key(1)]
    node.store.answer(Merge(key(1), login, whole=True))
    node.changed(key(1))
    assert names(node) == {key(1)}


def test_another_user_is_another_entry() -> None:
    node = Stored().up()
    node.write(key(1), create=True, principal=b"bob")
    node.write(key(1), principal=b"ann")
    assert names(node) == {key(1)}
    assert {e.key for e in node.store.indexes[principal_tag("bob")]} == {key(1)}


def test_entries_are_restored_after_emptying() -> None:
    node = Stored().up()
    node.write(key(1), create=True, principal=b"ann")
    node.store.sessions.clear()
    node.store.indexes.clear()
    node.engine.store_changed(None, node.at())
    node.pump()
    node.wait(1.0)
    assert names(node) == {key(1)}


def test_a_store_that_wants_the_whole_session_gets_its_entry_again() -> None:
    node = Stored().up()
    node.write(key(1), create=True, principal=b"ann")
    node.store.sessions.clear()
    node.store.indexes.clear()
    node.write(key(1), x=b"2")
    assert names(node) == {key(1)}


def test_entries_are_noted_on_each_connection() -> None:
    node = Stored().up()
    node.write(key(1), create=True, principal=b"ann")
    node.store.indexes.clear()
    node.down()
    node.up()
    node.wait(1.0)
    assert names(node) == {key(1)}


def test_a_refused_merge_leaves_an_entry_that_does_no_harm() -> None:
    node = Stored().up()
    node.store.refuses = lambda call: MergeAnswer.FROM_THE_FUTURE
    node.write(key(1), create=True, principal=b"ann")
    assert names(node) == {key(1)}
    assert not node.store.sessions


def test_an_older_login_takes_no_entry() -> None:
    index = StoreIndex()
    older = elsewhere([creating(key(1), principal=b"ann")])[key(1)]
    newer = elsewhere([creating(key(1), principal=b"bob"), Change(key(1), WALL_MS + 1, {
        PRINCIPAL: b"ann"})])[key(1)]
    assert [call.entry for call in index.entries([(key(1), newer)])] == [entry_of(newer, key(1))]
    assert index.entries([(key(1), older)]) == []
    index.forget_of([key(1)])
    assert len(index.entries([(key(1), older)])) == 1


def beside(node: Stored, state: SessionState, change: Change) -> SessionState:
    """Another host writes to what it holds, and tells the index and the store."""
    replica = open_memory(OTHER, clock_skew_ms_max=300_000)
    replica.merge([(key(1), state)], WALL_MS)
    replica.commit([change], WALL_MS)
    written = replica.get(key(1))
    assert written is not None
    entry = entry_of(written, key(1))
    node.store.answer(Enter(TAG, entry, expires_ms(written)))
    node.store.answer(Merge(key(1), written, whole=True))
    return written


def noted_ms(node: Stored) -> int:
    return max(node.store.indexes[TAG].values())


def test_our_later_access_counts_under_the_longer_idle_timeout_of_another_host() -> None:
    node = Stored().up()
    login = elsewhere([creating(key(1), principal=b"ann")])[key(1)]
    node.store.answer(Merge(key(1), login, whole=True))
    node.fetch(7, key(1))
    node.commit(Change(key(1), WALL_MS + 60_000))
    beside(node, login, Change(key(1), WALL_MS, {IDLE_TIMEOUT: b"7200000"}))
    node.changed(key(1))
    assert noted_ms(node) == expires_ms(node.store.sessions[key(1)])


def test_another_hosts_later_access_counts_under_our_longer_idle_timeout() -> None:
    node = Stored().up()
    login = elsewhere([creating(key(1), principal=b"ann")])[key(1)]
    node.store.answer(Merge(key(1), login, whole=True))
    node.fetch(7, key(1))
    node.commit(Change(key(1), WALL_MS, {IDLE_TIMEOUT: b"7200000"}))
    beside(node, login, Change(key(1), WALL_MS + 60_000))
    node.changed(key(1))
    assert noted_ms(node) == expires_ms(node.store.sessions[key(1)])


def test_another_hosts_later_access_counts_under_our_login() -> None:
    node = Stored().up()
    login = elsewhere([creating(key(1), principal=b"ann")])[key(1)]
    node.store.answer(Merge(key(1), login, whole=True))
    node.fetch(7, key(1))
    node.commit(Change(key(1), WALL_MS, {PRINCIPAL: b"ann"}))
    beside(node, login, Change(key(1), WALL_MS + 60_000))
    node.changed(key(1))
    state = node.store.sessions[key(1)]
    assert node.store.indexes[TAG][entry_of(state, key(1))] == expires_ms(state)


def test_what_another_host_has_noted_is_not_noted_again() -> None:
    node = Stored().up()
    login = elsewhere([creating(key(1), principal=b"ann")])[key(1)]
    node.store.answer(Merge(key(1), login, whole=True))
    node.fetch(7, key(1))
    noted = len(node.calls(Enter))
    beside(node, login, Change(key(1), WALL_MS + 60_000))
    node.changed(key(1))
    held = node.replica.get(key(1))
    assert held is not None
    assert held.accessed_ms == WALL_MS + 60_000
    assert len(node.calls(Enter)) == noted
