"""Whom the agent names to its workers, and when it takes that back."""

import pytest

from clustersession.core.direct_peers import DIRECT_NOTE, DirectPeers
from clustersession.core.errors import ReplicaFull
from clustersession.core.feed import Cursor
from clustersession.core.identity import Phase
from clustersession.node import news
from clustersession.node.direct_peers import DirectPeersWriter, direct_peers
from clustersession.node.life import Life
from clustersession.replica.replica import Replica
from clustersession.wire.messages import Progress, encode_message
from tests.node.lives import FakeLink, at, life_over, peer, taken


def linked(*names: str) -> Life[FakeLink]:
    """A node that has looked around, and is linked with peers that take changes directly."""
    life = life_over()
    context = life.engine.context
    context.discovered, context.phase = True, Phase.READY
    for name in names:
        life.accepted(FakeLink(peer(name)), at())
        known = context.peers[peer(name).node]
        known.greeted, known.phase, known.takes_direct = True, Phase.READY, True
        begin = encode_message(Progress(Cursor(0, 0), True, False))
        life.engine.receive(peer(name).node, begin, at(), reliable=True)
    taken(life)
    return life


def noted(life: Life[FakeLink]) -> DirectPeers:
    return DirectPeers.decode(life.engine.context.replica.load_note(DIRECT_NOTE))


def names(life: Life[FakeLink]) -> str:
    return "".join(peer.node[:1].decode() for peer in noted(life).peers)


def test_peers_are_named_the_one_that_is_asked_first_before_the_others() -> None:
    life = linked("d", "b", "c")
    note = noted(life)
    assert names(life) == "bcd"
    assert note.own == life.engine.context.own.node
    assert note.everybody
    assert note.peers[0].address == peer("b").address
    life.engine.confirmations._next_first(frozenset())
    assert [p.node for p in direct_peers(life.engine.context, life.engine.confirmations).peers] == [
        peer(name).node for name in "cdb"
    ]


def test_who_does_not_take_changes_is_not_named_and_then_not_everybody_is() -> None:
    life = linked("b", "c")
    life.engine.context.peers[peer("b").node].takes_direct = False
    found = direct_peers(life.engine.context, life.engine.confirmations)
    assert [p.node for p in found.peers] == [peer("c").node]
    assert not found.everybody


@pytest.mark.parametrize("how", ["lagging", "loading", "silent"])
def test_who_could_not_confirm_is_not_named(how: str) -> None:
    life = linked("b", "c")
    known = life.engine.context.peers[peer("b").node]
    if how == "lagging":
        known.progress.lagging = True
    elif how == "loading":
        known.phase = Phase.JOINING
    else:
        known.progress.cursor = None
    found = direct_peers(life.engine.context, life.engine.confirmations)
    assert [p.node for p in found.peers] == [peer("c").node]
    assert not found.everybody


def test_a_member_without_a_link_means_that_not_everybody_is_named() -> None:
    life = linked("b", "c")
    link = next(link for link in life.connections if link.identity == peer("b"))
    life.closed(link, at())
    taken(life)
    assert names(life) == "c"
    assert not noted(life).everybody


def test_a_new_agent_takes_back_what_the_last_one_left() -> None:
    life = linked("b")
    replica = life.engine.context.replica
    assert noted(life).peers
    DirectPeersWriter(replica)
    assert not noted(life).peers


def test_a_new_node_id_takes_back_what_was_found_out_for_the_last_one() -> None:
    life = linked("b")
    life.engine._lose_past(peer("b").node)
    taken(life)
    note = noted(life)
    assert not note.peers
    assert note.own == life.engine.context.own.node == life.engine.context.replica.node


def test_a_note_that_finds_no_space_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    life = linked("b")
    full = True
    save = Replica.save_note

    def save_note(replica: Replica, name: str, value: bytes) -> None:
        if full:
            raise ReplicaFull("full")
        save(replica, name, value)

    monkeypatch.setattr(Replica, "save_note", save_note)
    context = life.engine.context
    context.peers[peer("b").node].takes_direct = False
    context.view_is_stale = True
    taken(life)
    assert any(isinstance(told, news.ViewNotWritten) for told in life.engine.news())
    assert names(life) == "b"
    full = False
    context.view_is_stale = True
    taken(life)
    assert names(life) == ""
