"""Says what the session layer asks of the cluster."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from clustersession.replica.results import Stored

NOTHING_MORE: Mapping[bytes, int] = MappingProxyType({})
"""Any copy will do."""


class Subscription(Protocol):
    """Has somebody say, as long as it is open, when a session may have changed."""

    @property
    def is_open(self) -> bool:
        """Tell whether ``wake`` may still be called."""
        ...

    def close(self) -> None:
        """Say that no more word is wanted."""
        ...


class Contact(Protocol):
    """Knows whether the node has met its peers since it was out of touch with them.

    apart: ``is_apart`` is worth asking; an attribute, because each request looks at it.
    """

    apart: bool

    def is_apart(self) -> bool:
        """Tell whether a session that is here may have ended on a peer meanwhile."""
        ...


class ClusterPort(Protocol):
    """Is the node's side towards its peers, as a worker sees it. No method raises."""

    @property
    def route(self) -> str:
        """Return this node's route."""
        ...

    @property
    def contact(self) -> Contact:
        """Return what knows whether peers are to be asked for sessions that are here, too."""
        ...

    def serving_routes(self) -> frozenset[str]:
        """Return the routes of nodes alive, not draining and with a worker.

        Ours too, unless we drain.
        """
        ...

    def confirm(
        self, head: int, stored: Sequence[Stored] = (), *, ends: bool = False
    ) -> bool:
        """Wait until a peer, or with ``ack="all"`` every one, holds our feed up to ``head``.

        stored: the sessions that the commit which led to ``head`` has written, as ``Committed`` has
        them: knowing what is to be held, one write may be carried there by itself. None of them:
        all of the feed is meant. ends: sessions end there, so that every one must hold it whatever
        ``ack`` says, where there is a journal.

        False: not in time. With ``ack="none"`` it is not asked for anything but ends; the caller
        says ``feed_moved``.
        """
        ...

    async def confirm_async(
        self, head: int, stored: Sequence[Stored] = (), *, ends: bool = False
    ) -> bool:
        """Do what ``confirm`` does, without blocking the event loop."""
        ...

    def fetch(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        """Ask peers for a session, within ``fetch_timeout_s``; True: it is in the replica now.

        ``wanted``: writes that the copy is to contain, the highest place per node.
        """
        ...

    async def fetch_async(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        """Do what ``fetch`` does, without blocking the event loop."""
        ...

    def gather(self, principal: str) -> bool:
        """Have all sessions of a user in the replica, within ``fetch_timeout_s``.

        False: they may not be; the replica has those that this node holds.
        """
        ...

    async def gather_async(self, principal: str) -> bool:
        """Do what ``gather`` does, without blocking the event loop."""
        ...

    def feed_moved(self, head: int) -> None:
        """Have the agent send what was committed up to ``head``; nobody waits."""
        ...

    async def subscribe(self, key: str, wake: Callable[[], object]) -> Subscription | None:
        """Have ``wake`` called, in this event loop, whenever a session may have changed.

        None: there is nobody who could; look now and then.
        """
        ...
