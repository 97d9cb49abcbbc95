"""Has a write confirmed by peers that the worker asks itself, around two agents."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING

from clustersession.core.direct_peers import DirectPeer
from clustersession.net.async_library import in_trio
from clustersession.settings.settings import Settings
from clustersession.worker.direct_peers import DirectPeersReader, question
from clustersession.worker.direct_rest import DirectRest
from clustersession.worker.direct_way import PlainWrite

if TYPE_CHECKING:
    from clustersession.net.direct_channel import Answer, BlockingChannel, ChannelPool
    from clustersession.net.loop_channel import LoopChannel, LoopChannels
    from clustersession.wire.keys import ClusterKeys

PATIENCE_S = 0.004
"""How long an answer is waited for: many ways there and back, and little in a request."""


class DirectToPeers:
    """Implements ``worker.direct_way.DirectWay``: asks the peer that the agent would ask, or all.

    moved: tells the agent up to where the feed has moved, and whether all peers hold it; nobody
    waits.
    """

    def __init__(
        self, settings: Settings, reader: DirectPeersReader, moved: Callable[[int, bool], None]
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._moved = moved
        self._rest = DirectRest()
        self._numbers = count(1)

    def confirm(self, write: PlainWrite) -> bool:
        """Tell whether peers hold the write now; False: the agent is to be asked."""
        peers, number = self._whom_to_ask(write), next(self._numbers)
        data = question(write, number) if peers else None
        if data is None:
            return False
        answer = None
        with suppress(OSError):
            answer = self._ask(data, number, peers)
        return self._conclude(write, peers, answer)

    async def confirm_async(self, write: PlainWrite) -> bool:
        """Do what ``confirm`` does, without blocking the event loop. Under trio never True."""
        peers, number = self._whom_to_ask(write), next(self._numbers)
        data = question(write, number) if peers and not in_trio() else None
        if data is None:
            return False
        answer = None
        with suppress(OSError):
            answer = await self._ask_async(data, number, peers)
        return self._conclude(write, peers, answer)

    def close(self) -> None:
        """Close the channels."""
        for name in ("_pool", "_loop_channels"):
            # What was never used was never made.
            if (channels := self.__dict__.pop(name, None)) is not None:
                channels.close()

    def _whom_to_ask(self, write: PlainWrite) -> Sequence[DirectPeer]:
        if self._rest.is_resting(time.monotonic()):
            return ()
        return self._reader.whom_to_ask(write)

    # Not imported before a peer is there: a worker alone needs no seals.

    @cached_property
    def _keys(self) -> "ClusterKeys":
        from clustersession.wire.keys import ClusterKeys

        return ClusterKeys.derive(self._settings.secret, self._settings.cluster_name)

    @cached_property
    def _pool(self) -> "ChannelPool":
        from clustersession.net.direct_channel import ChannelPool

        return ChannelPool(self._keys, self._settings.cluster_name)

    @cached_property
    def _loop_channels(self) -> "LoopChannels":
        from clustersession.net.loop_channel import LoopChannels

        return LoopChannels(self._keys, self._settings.cluster_name)

    def _ask(self, data: bytes, number: int, peers: Sequence[DirectPeer]) -> "Answer":
        """Return whether all hold it; None: not all have answered. Raises OSError."""
        deadline_s = time.monotonic() + PATIENCE_S
        asked: list[tuple[DirectPeer, BlockingChannel]] = []
        try:
            for peer in peers:
                channel = self._pool.take(peer.address)
                asked.append((peer, channel))
                channel.send(data)
            return _together([channel.receive(number, deadline_s) for _, channel in asked])
        finally:
            for peer, channel in asked:
                self._pool.give(peer.address, channel)

    async def _ask_async(
        self, data: bytes, number: int, peers: Sequence[DirectPeer]
    ) -> "Answer":
        """Do what ``_ask`` does, without blocking the event loop."""
        loop = asyncio.get_running_loop()
        asked: list[tuple[LoopChannel, asyncio.Future[Answer]]] = []
        try:
            for peer in peers:
                channel = await self._loop_channels.open(peer.address)
                asked.append((channel, channel.ask(number, data)))
            waits = [future for _, future in asked]
            timer = loop.call_later(PATIENCE_S, _give_up, waits)
            try:
                return _together([await future for future in waits])
            finally:
                timer.cancel()
        finally:
            for channel, _ in asked:
                channel.forget(number)

    def _conclude(
        self, write: PlainWrite, peers: Sequence[DirectPeer], answer: "Answer"
    ) -> bool:
        if answer:
            self._rest.held()
            self._moved(write.seq, self._reader.are_all(peers))
            return True
        now_s = time.monotonic()
        if answer is None:
            self._rest.missed(now_s)
        else:
            self._rest.refused(now_s)
        return False


def _together(answers: "Sequence[Answer]") -> "Answer":
    return None if None in answers else all(answers)


def _give_up(waits: "Sequence[asyncio.Future[Answer]]") -> None:
    for future in waits:
        if not future.done():
            future.set_result(None)
