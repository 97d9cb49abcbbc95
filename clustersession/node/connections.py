"""Keeps a node's links by peer: chooses the one to send on, tells the engine of each change.

Two nodes that dial each other at the same time have two links, and one that restarts comes back
before the links of its former life have broken. The engine knows peers and not links: it hears when
the first link to a node is up, when one of several has broken, and when the last one is gone.

Of several links the newest stays, because an older one may be broken without our knowing it. Were
both nodes to close what each takes for old, none might be left. So only the one with the lower node
id does, and only when the other has the newest in its table: that is so where we dialled it, and
with the first word that comes on it.
"""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from clustersession.core.identity import Address, Identity
from clustersession.node.engine import Engine
from clustersession.node.moment import Moment
from clustersession.node.news import TooManyLinks


class PeerLink(Protocol):
    """Is an authenticated connection with a node, which has said who it is."""

    @property
    def identity(self) -> Identity: ...

    def send(self, payload: bytes) -> None: ...

    def close(self, reason: str) -> None: ...

    def abort(self, reason: str) -> None: ...


LINKS_PER_NODE_MAX = 8
"""An older node with the lower id keeps them all, and more while old ones are found broken."""

LinkT = TypeVar("LinkT", bound=PeerLink)


class Connections(Generic[LinkT]):
    """Keeps the links of one engine, at most ``links_max``.

    Who holds the secret may open any number, under any number of made-up node ids. Of a node that
    has too many the oldest goes, which is the likeliest to be broken. Where there are too many
    altogether, one of a node that has never sent us a change goes first, again the oldest: so
    members that are known find their way in, and whoever comes anew does for a while.
    """

    def __init__(self, engine: Engine, links_max: int) -> None:
        self._engine = engine
        self._links_max = links_max
        # By node, the newest link first: an older one may be broken without our knowing it yet.
        # No list is empty, and all links of a list are of one life of the node, the latest known.
        self._links: dict[bytes, list[LinkT]] = {}

    def __iter__(self) -> Iterator[LinkT]:
        return iter([link for links in self._links.values() for link in links])

    def to(self, node: bytes) -> list[LinkT]:
        """Return the links to a node, the one that is sent on first."""
        return self._links.get(node, [])

    def adopt(self, link: LinkT, dialled: Address | None, at: Moment) -> bool:
        """Take a link into the table; False: it is closed, because it leads to ourselves.

        ``dialled``: the address that led to it, None for a link that came.
        """
        identity = link.identity
        if identity.node == self._engine.context.own.node:
            self._engine.link_up(identity, at, dialled)
            link.close("that is ourselves")
            return False
        known = self._links.get(identity.node)
        if known and known[0].identity.start < identity.start:
            for old in self._links.pop(identity.node):
                old.abort("restarted")
            self._engine.link_down(identity.node, "restarted", at)
        # Taken out and put in again, so that the node whose last link is oldest stands first.
        self._links[identity.node] = [link, *self._links.pop(identity.node, [])]
        if dialled is not None:
            self._close_older(link)
        self._engine.link_up(identity, at, dialled)
        self._bound(identity.node, at)
        return True

    def heard(self, link: LinkT, at: Moment) -> None:
        """Note that something came on a link; to be called before the engine gets it."""
        if self._close_older(link):
            # What the peer sent on an older one may be lost.
            self._engine.link_up(link.identity, at)

    def _close_older(self, link: LinkT) -> bool:
        """Close what the newest link takes the place of, if that is ours to do."""
        node = link.identity.node
        links = self._links.get(node, [])
        if len(links) < 2 or links[0] is not link or node < self._engine.context.own.node:
            return False
        self._links[node] = [link]
        for old in links[1:]:
            old.close("another connection took its place")
        return True

    def _bound(self, newest: bytes, at: Moment) -> None:
        links = self._links[newest]
        if len(links) > LINKS_PER_NODE_MAX:
            # The engine has just greeted the node on the newest; what was under way is sent again.
            links.pop().abort("too many connections of one node")
        if sum(len(each) for each in self._links.values()) <= self._links_max:
            return
        context = self._engine.context
        # The newcomer last: it goes itself where it is the only stranger.
        order = [*(node for node in self._links if node != newest), newest]
        victim = next((node for node in order if node not in context.cursors), order[0])
        links = self._links[victim]
        links.pop().abort("too many connections")
        context.tell(TooManyLinks(self._links_max))
        if not links:
            del self._links[victim]
            self._engine.link_down(victim, "too many connections", at)

    def closed(self, link: LinkT, at: Moment) -> None:
        """Forget a link that is gone, if it is still in the table."""
        node = link.identity.node
        links = self._links.get(node, [])
        if link not in links:
            return
        links.remove(link)
        if links:
            # The engine greets the peer again, because messages on the broken one may be lost.
            self._engine.link_up(links[0].identity, at)
        else:
            del self._links[node]
            self._engine.link_down(node, "connection lost", at)

    def send(self, node: bytes, data: bytes) -> None:
        """Send to a node on its newest link; without one the message is lost."""
        links = self._links.get(node)
        if links:
            links[0].send(data)

    def unlink(self, node: bytes, at: Moment) -> None:
        """Close all links to a node.

        It is gone for the engine at once: a link that takes its time to close must not be taken for
        a connection with a member that comes back meanwhile.
        """
        for link in self._links.pop(node, []):
            link.close("member gone")
        self._engine.link_down(node, "member gone", at)

    def close_all(self, reason: str) -> None:
        """Close every link without a word to the engine, whose life is over."""
        for link in self:
            link.close(reason)
        self._links.clear()
