"""Who watches hears that something happened, once, and whoever does not read costs nothing."""

import pytest

from clustersession.agent import watchers as module
from clustersession.agent.watchers import UNREAD_BYTES_MAX, Watchers
from clustersession.core.expiring_values import expiring
from clustersession.core.placement import owner
from clustersession.core.state import Change, Creation
from clustersession.core.transitions import CHANGED, CREATED, ENDED, EXPIRED
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica

WALL_MS = 1_800_000_000_000
KEY, OTHER = "1" + "a" * 22, "1" + "b" * 22


class Worker:
    """A connection that remembers what it was told."""

    def __init__(self, pid: int = 1) -> None:
        self.pid = pid
        self.unread_bytes = 0
        self.answers: list[tuple[int, object]] = []
        self.events: list[list[object]] = []

    def answer(self, token: int, value: object) -> None:
        self.answers.append((token, value))

    def push_event(self, event: list[object]) -> None:
        self.events.append(event)


def node(name: bytes = b"nodenode") -> Replica:
    return open_memory(name, clock_skew_ms_max=300_000)


def create(replica: Replica, key: str = KEY) -> None:
    creation = Creation(WALL_MS, WALL_MS + 60_000, 0)
    replica.commit([Change(key, WALL_MS, {"a": b"1"}, creation=creation)], WALL_MS)


def from_peer(replica: Replica, peer: Replica) -> None:
    replica.apply(peer.feed(0, 0, 2**20), WALL_MS)


def test_a_watcher_hears_of_its_session_alone_from_here_and_from_peers() -> None:
    replica, peer, worker = node(), node(b"peerpeer"), Worker()
    watchers = Watchers(replica)
    assert watchers.watch(worker, 7, KEY)
    assert watchers.is_watched(KEY)
    assert not watchers.is_watched(OTHER)
    create(replica)
    create(replica, OTHER)
    worker.answers.clear()
    watchers.feed_moved()
    assert worker.answers == [(7, True)]
    create(peer)
    from_peer(replica, peer)
    assert len(worker.answers) == 2
    watchers.unwatch(worker, 7)
    assert not watchers.is_watched(KEY)
    replica.commit([Change(KEY, WALL_MS, {"a": b"2"})], WALL_MS)
    watchers.feed_moved()
    assert len(worker.answers) == 2


def test_one_that_does_not_read_is_told_no_more() -> None:
    replica, peer, worker = node(), node(b"peerpeer"), Worker()
    watchers = Watchers(replica)
    watchers.watch(worker, 7, KEY)
    watchers.listen([worker], worker.pid, everywhere=True)
    worker.unread_bytes = UNREAD_BYTES_MAX
    create(peer)
    from_peer(replica, peer)
    assert not worker.answers
    assert not worker.events
    assert watchers.unheard == 1


def test_an_event_is_told_to_one_worker_with_the_copy_that_shows_it() -> None:
    replica, peer = node(), node(b"peerpeer")
    workers = [Worker(1), Worker(2)]
    watchers = Watchers(replica)
    for worker in workers:
        watchers.listen(workers, worker.pid, everywhere=True)
    create(peer)
    from_peer(replica, peer)
    ((kind, key, data, names, reason),) = workers[0].events + workers[1].events
    assert (kind, key, names, reason) == (CREATED, KEY, ["a"], None)
    assert isinstance(data, bytes)
    peer.commit([Change(KEY, WALL_MS, end="invalidated")], WALL_MS)
    from_peer(replica, peer)
    assert [event[0] for event in workers[0].events] == [CREATED, ENDED]


def test_who_listens_for_this_node_alone_hears_what_its_agent_expires() -> None:
    replica, worker = node(), Worker()
    watchers = Watchers(replica)
    watchers.listen([worker], worker.pid, everywhere=False)
    create(replica)
    assert not worker.events, "what happens on this node its own workers tell"
    state = replica.get(KEY)
    assert state is not None
    watchers.expired([(KEY, state)], frozenset(), "a")
    assert [event[0] for event in worker.events] == [EXPIRED]


def test_a_connection_that_goes_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WATCHES_MAX", 3)
    replica, gone, stays = node(), Worker(1), Worker(2)
    watchers = Watchers(replica)
    watchers.listen([gone], gone.pid, everywhere=True)
    assert [watchers.watch(gone, token, KEY) for token in (1, 2, 3)] == [True] * 3
    assert not watchers.watch(stays, 1, KEY), "there are too many"
    watchers.forget(gone)
    assert not watchers.listened_to
    assert watchers.watch(stays, 1, KEY)
    watchers.unwatch(stays, 1)
    watchers.unwatch(stays, 1)
    assert not watchers._by_key
    assert replica._observer is None


def test_an_attribute_that_expires_is_told_of_by_its_owner_and_to_whoever_watches() -> None:
    replica, worker = node(), Worker()
    watchers = Watchers(replica)
    watchers.listen([worker], worker.pid, everywhere=False)
    create(replica)
    until_ms = WALL_MS + 1000
    replica.commit([Change(KEY, WALL_MS, {"otp": expiring(b"2", until_ms)})], WALL_MS)
    stored = replica.reclaim(KEY, until_ms, spread=False).stored
    watchers.watch(worker, 7, KEY)
    other = next(f"r{n}" for n in range(99) if owner(KEY, {f"r{n}", "a"}) != "a")
    watchers.reclaimed(stored, frozenset({other}), "a", spread=False)
    watchers.reclaimed(stored, frozenset(), "a", spread=True)
    assert (worker.answers, worker.events) == ([(7, True)] * 2, [])
    watchers.reclaimed(stored, frozenset(), "a", spread=False)
    ((kind, key, _, names, _),) = worker.events
    assert (kind, key, names) == (CHANGED, KEY, ["otp"])
