"""The view of who serves: what it says, and when it is written."""

import pytest

from clustersession.core.errors import ReplicaFull
from clustersession.core.identity import Phase
from clustersession.core.serving_view import VIEW_NOTE, View
from clustersession.node import news
from clustersession.node.effects import Dial
from clustersession.node.heartbeat import SOON_INTERVAL_S
from clustersession.node.life import Life
from clustersession.node.serving import view_of
from clustersession.wire.messages import Heartbeat, encode_message
from tests.node.lives import FakeLink, at, life_over, peer, taken


def looked_around(*peers: str) -> Life[FakeLink]:
    """A ready node with a worker, that knows these peers as ready and serving."""
    life = life_over()
    context = life.engine.context
    for name in peers:
        life.accepted(FakeLink(peer(name)), at())
        member = context.membership.get(peer(name).node)
        assert member is not None
        member.phase, member.serving = Phase.READY, True
    context.discovered, context.phase = True, Phase.READY
    life.engine.workers_changed(1, 1, at())
    taken(life)
    return life


def written(life: Life[FakeLink]) -> View:
    return View.decode(life.engine.context.replica.load_note(VIEW_NOTE))


def test_who_is_ready_and_has_a_worker_serves() -> None:
    life = looked_around("b", "c", "d")
    members = {member.identity.route: member for member in life.engine.membership}
    members["c"].serving = False
    members["d"].phase = Phase.DRAINING
    assert view_of(life.engine.context) == View(frozenset({"a", "b"}), False)


def test_a_suspect_does_not_serve() -> None:
    life = looked_around("b")
    assert written(life).serving == {"a", "b"}
    (link,) = life.connections
    life.closed(link, at())
    taken(life)
    assert written(life).serving == {"a"}


def test_who_drains_says_so_and_does_not_serve() -> None:
    life = looked_around("b")
    life.engine.drain(at())
    taken(life)
    assert written(life) == View(frozenset({"b"}), True)


def test_workers_that_were_all_told_to_stop_drain_until_new_ones_come() -> None:
    life = looked_around("b")
    life.engine.workers_changed(2, 0, at())
    taken(life)
    assert written(life) == View(frozenset({"b"}), True)
    life.engine.workers_changed(4, 2, at())
    taken(life)
    assert written(life) == View(frozenset({"a", "b"}), False)


def test_a_node_that_has_not_looked_around_leaves_the_last_view() -> None:
    life = life_over()
    life.engine.context.replica.save_note(VIEW_NOTE, View(frozenset("bc"), False).encode())
    life.engine.workers_changed(1, 1, at())
    taken(life)
    assert written(life).serving == {"b", "c"}


def test_a_view_that_could_not_be_written_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    life = looked_around("b")

    def full(*_: object) -> None:
        raise ReplicaFull("no space")

    with monkeypatch.context() as patch:
        patch.setattr(life.engine.context.replica, "save_note", full)
        life.engine.workers_changed(0, 0, at())
        taken(life)
    assert news.ViewNotWritten("no space") in life.engine.news()
    assert written(life).serving == {"a", "b"}
    life.engine.context.view_is_stale = True
    taken(life)
    assert written(life).serving == {"b"}


def test_the_same_view_is_not_written_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    life = looked_around("b")
    saved: list[object] = []
    monkeypatch.setattr(life.engine.context.replica, "save_note", lambda *note: saved.append(note))
    life.engine.context.view_is_stale = True
    taken(life)
    assert not saved
    assert not life.engine.context.view_is_stale


def test_a_peer_that_says_otherwise_changes_the_view() -> None:
    life = looked_around("b")
    assert written(life).serving == {"a", "b"}
    heartbeat = Heartbeat(
        identity=peer("b"), uptime_ms=1, phase=Phase.READY, serving=False, wall_ms=at().wall_ms,
        head=0, multicast_head=0, cursors={}, heard=(), suspects=(), members=(), asks=False,
    )
    life.engine.receive(peer("b").node, encode_message(heartbeat), at(), reliable=True)
    taken(life)
    assert written(life).serving == {"a"}


def test_who_becomes_ready_writes_the_view_and_tells_the_others_soon() -> None:
    life = life_over()
    context, engine = life.engine.context, life.engine
    engine.workers_changed(1, 1, at())
    now_s = 0.0
    while context.phase is Phase.JOINING:
        assert context.replica.load_note(VIEW_NOTE) is None
        taken(life, now_s)
        now_s = max(now_s + 0.001, engine.next_deadline())
        for address in [e.address for e in taken(life, now_s) if isinstance(e, Dial)]:
            life.dial_failed(address, engine, True, at(now_s))
        engine.handle_timer(at(now_s))
    taken(life, now_s)
    assert written(life).serving == {"a"}
    assert engine.heartbeat.next_deadline() <= now_s + SOON_INTERVAL_S


def test_the_first_worker_and_the_last_change_the_view() -> None:
    life = looked_around()
    assert written(life).serving == {"a"}
    life.engine.workers_changed(0, 0, at())
    taken(life)
    assert written(life).serving == set()
