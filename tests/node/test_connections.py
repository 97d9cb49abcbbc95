"""The table of links: newest first, nothing of a former life, and what the engine hears."""

from clustersession.core.feed import Cursor
from clustersession.core.identity import Identity
from clustersession.node.connections import LINKS_PER_NODE_MAX
from clustersession.node.effects import CheckAddress, Unlink
from clustersession.node.life import Life
from clustersession.node.news import TooManyLinks
from tests.node.lives import OWN, FakeLink, at, life_over, peer, taken


def accepted(life: Life[FakeLink], identity: Identity) -> FakeLink:
    link = FakeLink(identity)
    assert life.accepted(link, at())
    taken(life)
    link.done.clear()
    return link


def dialled(life: Life[FakeLink], identity: Identity) -> FakeLink:
    link = FakeLink(identity)
    assert life.dialled(link, identity.address, life.engine, at())
    taken(life)
    link.done.clear()
    return link


def is_peer(life: Life[FakeLink], name: str = "b") -> bool:
    return peer(name).node in life.engine.context.peers


def test_the_newest_link_is_sent_on() -> None:
    life = life_over()
    old, new = accepted(life, peer()), accepted(life, peer())
    old.done.clear()
    life.connections.send(peer().node, b"x")
    assert (old.done, new.done) == ([], ["sent"])
    life.connections.send(peer("c").node, b"lost without a word")


def test_a_node_that_came_again_after_a_restart_has_no_links_of_its_former_life() -> None:
    life = life_over()
    old = [accepted(life, peer(start=1)), accepted(life, peer(start=1))]
    new = accepted(life, peer(start=2))
    assert [link.done[-1] for link in old] == ["aborted: restarted"] * 2
    assert life.connections.to(peer().node) == [new]
    assert is_peer(life)
    member = life.engine.membership.get(peer().node)
    assert member is not None
    assert member.identity.start == 2
    for link in old:
        life.closed(link, at())
    assert is_peer(life)


def test_the_peer_is_gone_with_its_last_link() -> None:
    life = life_over()
    first, second = accepted(life, peer()), accepted(life, peer())
    life.closed(second, at())
    assert is_peer(life)
    life.closed(second, at())
    assert is_peer(life), "it was not in the table any more"
    life.closed(first, at())
    assert not is_peer(life)
    assert life.connections.to(peer().node) == []


def test_when_one_of_two_links_breaks_the_peer_is_greeted_on_the_other() -> None:
    life = life_over()
    first, second = accepted(life, peer()), accepted(life, peer())
    first.done.clear()
    life.closed(second, at())
    taken(life)
    assert first.done
    assert set(first.done) == {"sent"}


def test_a_link_to_ourselves_is_closed_and_its_address_is_known() -> None:
    life = life_over()
    link = FakeLink(life.engine.context.own)
    assert not life.dialled(link, OWN._replace(port=5000), life.engine, at())
    assert link.done == ["closed: that is ourselves"]
    assert list(life.connections) == []
    life.engine.dialer.heard_of(OWN._replace(port=5000), at())
    assert not taken(life), "nobody dials it again"


def test_unlinking_closes_all_links_at_once_for_the_engine() -> None:
    life = life_over()
    links = [accepted(life, peer()), accepted(life, peer())]
    life.engine.context.emit(Unlink(peer().node))
    taken(life)
    assert [link.done[-1] for link in links] == ["closed: member gone"] * 2
    assert not is_peer(life)
    for link in links:
        life.closed(link, at())
    assert not is_peer(life)


def test_the_address_of_whoever_comes_is_checked_and_not_that_of_whoever_was_dialled() -> None:
    life = life_over()
    life.accepted(FakeLink(peer("b")), at())
    assert CheckAddress(peer("b")) in taken(life)
    life.dialled(FakeLink(peer("c")), peer("c").address, life.engine, at())
    assert not [e for e in taken(life) if isinstance(e, CheckAddress)]


def test_of_one_node_only_the_newest_links_are_kept() -> None:
    life = life_over()
    links = [accepted(life, peer()) for _ in range(LINKS_PER_NODE_MAX + 3)]
    assert life.connections.to(peer().node) == links[:2:-1]
    assert {link.done[-1] for link in links[:3]} == {"aborted: too many connections of one node"}
    for link in links[:3]:
        life.closed(link, at())
    assert is_peer(life)


def test_of_too_many_nodes_strangers_go_first_the_oldest_of_them() -> None:
    life = life_over(links_max=3)
    life.engine.context.cursors[peer("b").node] = Cursor(1, 1)
    known, first = accepted(life, peer("b")), accepted(life, peer("c"))
    second, third = accepted(life, peer("d")), accepted(life, peer("e"))
    assert first.done[-1] == "aborted: too many connections"
    assert set(life.connections) == {known, second, third}
    assert not is_peer(life, "c")
    assert TooManyLinks(3) in life.engine.news()
    again = accepted(life, peer("b"))
    assert set(life.connections) == {known, third, again}, "a member that is known finds its way in"


def test_a_stranger_pushes_no_known_member_out() -> None:
    life = life_over(links_max=2)
    for name in "bc":
        life.engine.context.cursors[peer(name).node] = Cursor(1, 1)
    known = {accepted(life, peer(name)) for name in "bc"}
    stranger = FakeLink(peer("d"))
    life.accepted(stranger, at())
    assert stranger.done[-1] == "aborted: too many connections"
    assert set(life.connections) == known


CLOSED = "closed: another connection took its place"
LOW = Identity(b"A" * 8, 1 << 16, "low", peer().address)


def test_of_two_links_the_newest_stays_once_the_other_node_has_it_too() -> None:
    """We dialled it: the other took it in when it answered. Its id is higher, so we decide."""
    life = life_over()
    old = accepted(life, peer())
    new = dialled(life, peer())
    assert old.done[-1] == CLOSED
    assert life.connections.to(peer().node) == [new]
    life.closed(old, at())
    assert is_peer(life)


def test_a_link_that_came_takes_the_place_of_another_with_the_first_word_on_it() -> None:
    """Before that the other node may not have it, and would believe that we are gone."""
    life = life_over()
    old = dialled(life, peer())
    new = accepted(life, peer())
    assert life.connections.to(peer().node) == [new, old]
    life.received(old, b"", at())
    assert CLOSED not in old.done
    new.done.clear()
    life.received(new, b"", at())
    taken(life)
    assert old.done[-1] == CLOSED
    assert life.connections.to(peer().node) == [new]
    assert new.done, "what came on the old one may be lost, so the stream is asked for again"


def test_the_node_with_the_higher_id_closes_none() -> None:
    """Else each might close what the other keeps."""
    life = life_over()
    old, new = accepted(life, LOW), dialled(life, LOW)
    life.received(new, b"", at())
    taken(life)
    assert life.connections.to(LOW.node) == [new, old]
    assert CLOSED not in [*old.done, *new.done]
