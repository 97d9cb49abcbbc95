"""Carries changes from the event loops of a worker to agents of other hosts, as datagrams."""

import asyncio

from clustersession.core.identity import Address
from clustersession.net.direct_channel import ADDRESSES_MAX, ANSWER_BYTES_MAX, Answer, Channel
from clustersession.net.per_loop import PerLoop
from clustersession.wire.keys import ClusterKeys


class LoopChannel(Channel):
    """Carries the changes of one event loop, any number at a time.

    _waiting: the questions without an answer, by number; whoever asks removes its own.
    """

    def __init__(self, keys: ClusterKeys, cluster_name: str, address: Address) -> None:
        """Open, in the running loop. Raises OSError."""
        super().__init__(keys, cluster_name, address)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self.socket.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.socket, self._read)

    def ask(self, number: int, question: bytes) -> "asyncio.Future[Answer]":
        """Send, and return what the answer will be; ``forget`` is to follow. Raises OSError."""
        self.socket.send(self.seal(question))
        future = self._waiting[number] = self._loop.create_future()
        return future

    def forget(self, number: int) -> None:
        """Wait no more for an answer."""
        self._waiting.pop(number, None)

    def _read(self) -> None:
        while True:
            try:
                answer = self.open(self.socket.recv(ANSWER_BYTES_MAX))
            except BlockingIOError:
                return
            except OSError:
                # Nobody listens there.
                for future in self._waiting.values():
                    _settle(future, None)
                return
            if answer is not None and (waits := self._waiting.get(answer.number)) is not None:
                _settle(waits, answer.taken)

    def close(self) -> None:
        """Release the socket; whoever waits hears nothing."""
        for future in self._waiting.values():
            _settle(future, None)
        if not self._loop.is_closed():
            self._loop.remove_reader(self.socket)
        self.socket.close()


class LoopChannels:
    """Keeps the channels of each event loop of one worker, from their first use to the loop's end.

    _channels: by loop and address.
    """

    def __init__(self, keys: ClusterKeys, cluster_name: str) -> None:
        self._keys = keys
        self._cluster_name = cluster_name
        self._channels: PerLoop[dict[Address, LoopChannel]] = PerLoop(_close_all)

    async def open(self, address: Address) -> LoopChannel:
        """Return the running loop's channel to an address. Raises OSError."""
        channels = self._channels.find(asyncio.get_running_loop())
        if channels is None:
            channels = {}
            await self._channels.keep(channels)
        channel = channels.get(address)
        if channel is None:
            channel = channels[address] = LoopChannel(self._keys, self._cluster_name, address)
            for oldest in list(channels)[:-ADDRESSES_MAX]:
                # Whoever waits there asks the agent.
                channels.pop(oldest).close()
        return channel

    def close(self) -> None:
        """Close the channels of all loops."""
        self._channels.close()


def _close_all(loop: asyncio.AbstractEventLoop, channels: dict[Address, LoopChannel]) -> None:
    for channel in channels.values():
        channel.close()


def _settle(future: "asyncio.Future[Answer]", answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)
