"""The same change is the same event where it was made and, with "everywhere", on every node."""

from typing import Any

import pytest

from clustersession.agent.watchers import Watchers
from clustersession.core.revocation import revoke
from clustersession.core.state import ENDED_ROTATED, PRINCIPAL, Change
from clustersession.replica.opening import open_memory
from clustersession.session.events import KINDS, Event, Events, commit_with_events
from clustersession.worker.agent_events import AgentEvents
from tests.replica.replica_checks import (
    IDLE_MS,
    LIFE_MS,
    NODE_A,
    NODE_B,
    SKEW_MS,
    WALL_MS,
    creation,
    end,
    key_of,
    write,
)

PID = 4321
Told = list[tuple[str, tuple[str, ...], str | None, str | None]]


class Listener:
    """The connection of a worker whose application listens; hands on what the agent pushes."""

    pid = PID
    unread_bytes = 0

    def __init__(self, agent_events: AgentEvents) -> None:
        self.push_event = agent_events._heard


class Host:
    """One node: its replica, its agent's watchers, and an application that wants every event."""

    def __init__(self, node: bytes) -> None:
        self.replica = open_memory(node, clock_skew_ms_max=SKEW_MS)
        self.here: Told = []
        self.from_peers: Told = []
        self.events = Events()
        for kind in KINDS:
            self.events.on(kind, self._hear)
        agent_events = AgentEvents(None, everywhere=True)
        agent_events.add(self.events)
        self.watchers = Watchers(self.replica)
        listener: Any = Listener(agent_events)
        self.watchers.listen([listener], PID, everywhere=True)

    def _hear(self, event: Event) -> None:
        told = self.here if event.here else self.from_peers
        told.append((event.kind, event.names, event.reason, event.principal))

    def commit(self, *changes: Change) -> None:
        commit_with_events(self.replica, self.events, changes, WALL_MS)
        self.events.deliver()

    def hear(self, peer: "Host") -> None:
        cursor = self.replica.cursors().get(peer.replica.node)
        floor, after = (0, 0) if cursor is None else (cursor.floor, cursor.position)
        self.replica.apply(peer.replica.feed(floor, after, 2**20), WALL_MS)


class Nodes:
    """Two nodes; the second hears of each commit of the first."""

    def __init__(self) -> None:
        self.first, self.second = Host(NODE_A), Host(NODE_B)

    def commit(self, *changes: Change) -> Told:
        """Returns what the application was told, which must be the same on both."""
        self.first.here.clear()
        self.second.from_peers.clear()
        self.first.commit(*changes)
        self.second.hear(self.first)
        assert sorted(self.first.here, key=repr) == sorted(self.second.from_peers, key=repr)
        assert self.second.here == self.first.from_peers == []
        return self.first.here


def principal(user: bytes, **sets: bytes) -> Change:
    return Change(key_of(1), WALL_MS, {PRINCIPAL: user, **sets})


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


def test_the_first_copy_is_a_creation_and_what_follows_a_change(nodes: Nodes) -> None:
    assert nodes.commit(creation(1, {"a": b"1"})) == [("created", ("a",), None, None)]
    assert nodes.commit(write(1, a=b"2", b=b"1")) == [("changed", ("a", "b"), None, None)]
    assert nodes.commit(Change(key_of(1), WALL_MS, deletes=("a",))) == [
        ("changed", ("a",), None, None)
    ]


def test_what_changes_nothing_that_is_seen_is_no_event(nodes: Nodes) -> None:
    nodes.commit(creation(1, {"a": b"1"}))
    assert nodes.commit(Change(key_of(1), WALL_MS + 60_000)) == []
    assert nodes.commit(write(1, a=b"1")) == []
    assert nodes.commit(Change(key_of(1), WALL_MS, deletes=("never there",))) == []


def test_the_principal_set_changed_and_removed_is_a_change(nodes: Nodes) -> None:
    nodes.commit(creation(1))
    assert nodes.commit(principal(b"ann")) == [("changed", (), None, "ann")]
    assert nodes.commit(principal(b"ann")) == []
    assert nodes.commit(principal(b"bob", a=b"1")) == [("changed", ("a",), None, "bob")]
    removed = Change(key_of(1), WALL_MS, deletes=(PRINCIPAL,))
    assert nodes.commit(removed) == [("changed", (), None, None)]


def test_a_rotated_session_ends_and_begins(nodes: Nodes) -> None:
    nodes.commit(creation(1, {"a": b"1", PRINCIPAL: b"ann"}))
    rotated = Change(key_of(1), WALL_MS, end=ENDED_ROTATED)
    assert nodes.commit(creation(2, {"a": b"1", PRINCIPAL: b"ann"}), rotated) == [
        ("created", ("a",), None, "ann"), ("ended", (), "rotated", "ann"),
    ]


def test_the_end_of_a_session_is_told_once_and_of_an_unknown_one_not_at_all(nodes: Nodes) -> None:
    nodes.commit(creation(1, {"a": b"1"}))
    assert nodes.commit(end(1)) == [("ended", (), "invalidated", None)]
    assert nodes.commit(end(1)) == []
    assert nodes.commit(end(2)) == []
    nodes.first.replica.commit([creation(3)], WALL_MS)
    nodes.first.replica.commit([end(3)], WALL_MS)
    nodes.second.from_peers.clear()
    nodes.second.hear(nodes.first)
    assert nodes.second.from_peers == []


def test_a_revocation_ends_each_session_of_the_user_and_is_itself_no_event(nodes: Nodes) -> None:
    nodes.commit(creation(1, {PRINCIPAL: b"ann"}), creation(2, {PRINCIPAL: b"ann"}))
    assert nodes.commit(revoke("ann", key_of(2), WALL_MS, LIFE_MS)) == [
        ("ended", (), "revoked", "ann")
    ]


def test_what_expired_is_told_by_the_agent_with_what_it_held() -> None:
    host = Host(NODE_A)
    host.commit(creation(1, {"a": b"1", PRINCIPAL: b"ann"}))
    removed: list[Any] = []
    host.replica.sweep(WALL_MS + 2 * IDLE_MS, 10, removed)
    host.watchers.expired(removed, frozenset(), "a")
    assert host.from_peers == [("expired", (), None, "ann")]
