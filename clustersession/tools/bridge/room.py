"""Tells whether a node has room for all sessions of a store, before it takes them."""

import shutil
from typing import Final

from clustersession.core.errors import ClusterSessionError
from clustersession.core.state import Delta, SessionState
from clustersession.net.store.asking import StoreAsker
from clustersession.net.store.listing import session_keys
from clustersession.node.store_calls import Read
from clustersession.replica.home import NodeHome
from clustersession.replica.reading import size_about
from clustersession.replica.replica import Replica
from clustersession.store.keys import StoreKeys

SAMPLED: Final = 256
AT_ONCE: Final = 64
BOOKKEEPING_BYTES: Final = 512
"""What a session takes in the replica besides its content."""
USABLE: Final = 0.9
"""The share of the room that is filled at most: sessions go on being written."""
MIB: Final = 2**20


class StoreTooLarge(ClusterSessionError):
    """The store has more sessions than the node has room for. The message says what to change."""


class Room:
    """Compares what a store has with what a replica can take."""

    def __init__(self, home: NodeHome, opened: Replica) -> None:
        self._home = home
        self._replica = opened

    async def check(self, asker: StoreAsker, keys: StoreKeys) -> int:
        """Return how many sessions the store has. Raises StoreTooLarge, StoreError."""
        total = lacking = sampled = bytes_sampled = 0
        async for page in session_keys(asker.store, keys):
            total += len(page)
            news = [key for key in page if self._replica.get(key) is None]
            lacking += len(news)
            if news and sampled < SAMPLED:
                some = news[:AT_ONCE]
                for key, state in zip(some, await asker.ask(*map(Read, some)), strict=True):
                    if isinstance(state, SessionState):
                        sampled += 1
                        bytes_sampled += size_about(Delta(key, state, full=True))
        if sampled:
            needed = lacking * (bytes_sampled // sampled + BOOKKEEPING_BYTES)
            if needed > USABLE * self._left():
                raise StoreTooLarge(
                    f"the store has {lacking} sessions that this node lacks, which take about "
                    f"{needed / MIB:.1f} MiB, and there is room for {self._left() / MIB:.1f} MiB: "
                    f"{self._advice()}"
                )
        return total

    def full(self) -> StoreTooLarge:
        """Make the error for a replica that was full before all was taken."""
        return StoreTooLarge(
            f"the replica is full before all sessions of the store are here: {self._advice()}"
        )

    def _left(self) -> int:
        stats = self._replica.stats()
        left = stats.bytes_max - stats.bytes_used
        return min(left, shutil.disk_usage(self._home.directory).free)

    def _advice(self) -> str:
        return "raise map_bytes, see that the disk has as much, and do this again"
