"""Carries changes from a worker to the agent of another host by sealed datagrams, and the answers.

A channel leads to one address. It is a sender of its own, with a random id: two threads that seal
under one would use a nonce twice. An answer names the sender and the number of its question, so
that no recorded one passes for it. A socket that is connected hears at once that nobody listens.
"""

import secrets
import socket
import time

from clustersession.core.errors import WireError
from clustersession.core.identity import Address
from clustersession.net.idle_links import IdleLinks
from clustersession.wire.envelope import SENDER_BYTES, Opened, Opener, Sealer
from clustersession.wire.keys import ClusterKeys
from clustersession.wire.messages import DirectAnswer, decode_message

ANSWER_BYTES_MAX = 2048
IDLE_MAX = 64
ADDRESSES_MAX = 256
"""As many peers as there may be. They come back elsewhere, for as long as a worker lives."""

EPOCH = 1
"""Nobody else ever has a channel's id, and a channel has one life."""


Answer = bool | None
"""Whether a change is held now; None: nothing was heard in time."""


class Channel:
    """Seals questions to one address and opens what comes from there.

    socket: connected to it.
    """

    def __init__(self, keys: ClusterKeys, cluster_name: str, address: Address) -> None:
        """Open. Raises OSError."""
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._sender = secrets.token_bytes(SENDER_BYTES)
        self._sealer = Sealer(keys, cluster_name, self._sender, EPOCH)
        self._opener = Opener(keys, cluster_name, senders_max=4)
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self.socket.connect(tuple(address))
        except OSError:
            self.socket.close()
            raise

    def seal(self, question: bytes) -> bytes:
        """Seal a question."""
        return self._sealer.seal(question)

    def open(self, datagram: bytes) -> DirectAnswer | None:
        """Return an answer to a question of this channel; None for anything else."""
        opened = self._opener.open(datagram)
        if not isinstance(opened, Opened):
            return None
        try:
            answer = decode_message(opened.payload)
        except WireError:
            return None
        if isinstance(answer, DirectAnswer) and answer.asker == self._sender:
            return answer
        return None


class BlockingChannel(Channel):
    """Carries the changes of one thread, one at a time."""

    def send(self, question: bytes) -> None:
        """Send. Raises OSError."""
        self.socket.send(self.seal(question))

    def receive(self, number: int, deadline_s: float) -> Answer:
        """Wait until a moment, in monotonic seconds, for the answer to a question. Raises OSError.
        """
        while (left_s := deadline_s - time.monotonic()) > 0:
            self.socket.settimeout(left_s)
            try:
                datagram = self.socket.recv(ANSWER_BYTES_MAX)
            except TimeoutError:
                break
            answer = self.open(datagram)
            if answer is not None and answer.number == number:
                return answer.taken
        return None

    def close(self) -> None:
        """Release the socket."""
        self.socket.close()


class ChannelPool:
    """Lends channels to the threads of one worker. Must not be used across a fork.

    _idle: by address, channels that nobody uses; at most IDLE_MAX of them, of ADDRESSES_MAX
        addresses. One that has failed never comes back.
    """

    def __init__(self, keys: ClusterKeys, cluster_name: str) -> None:
        self._keys = keys
        self._cluster_name = cluster_name
        self._idle: dict[Address, IdleLinks[BlockingChannel]] = {}

    def take(self, address: Address) -> BlockingChannel:
        """Return a channel to an address, for the caller alone. Raises OSError."""
        idle = self._idle.get(address)
        channel = None if idle is None else idle.take()
        return channel or BlockingChannel(self._keys, self._cluster_name, address)

    def give(self, address: Address, channel: BlockingChannel) -> None:
        """Take a channel back."""
        idle = self._idle.get(address)
        if idle is None:
            idle = self._idle.setdefault(address, IdleLinks(IDLE_MAX))
            for oldest in list(self._idle)[:-ADDRESSES_MAX]:
                if (forgotten := self._idle.pop(oldest, None)) is not None:
                    forgotten.close()
        idle.give(channel)

    def close(self) -> None:
        """Close the idle channels."""
        for idle in list(self._idle.values()):
            idle.close()
