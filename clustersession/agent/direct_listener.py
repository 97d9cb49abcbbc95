"""Listens to workers of other nodes: opens their changes, and seals the answers."""

import secrets
from collections import Counter
from collections.abc import Callable

from clustersession.agent.event_log import EventLog
from clustersession.core.errors import WireError
from clustersession.net.datagram_port import DatagramPort, Source
from clustersession.settings.settings import Settings
from clustersession.wire.envelope import SENDER_BYTES, DropReason, Opened, Opener, Sealer
from clustersession.wire.keys import ClusterKeys

Take = Callable[[bytes, bytes], bytes]
"""Takes a change and who sent it, and returns the answer; raises WireError."""


class DirectListener:
    """Is the UDP side of an agent towards workers of other nodes; it is not needed.

    dropped: how many datagrams were not accepted, by reason. taken by ``open``: the socket; None
    before, and where there is none. The seal has a sender of its own, which only answers.
    """

    def __init__(
        self, settings: Settings, keys: ClusterKeys, event_log: EventLog, take: Take
    ) -> None:
        name = settings.cluster_name
        self.dropped: Counter[DropReason] = Counter()
        self._event_log = event_log
        self._take = take
        self._opener = Opener(keys, name)
        self._sealer = Sealer(keys, name, secrets.token_bytes(SENDER_BYTES), 1)
        self._port: DatagramPort | None = None

    def open(self, host: str, port: int) -> bool:
        """Listen at an address; False, and a line in the log, when it is taken."""
        try:
            self._port = DatagramPort(host, port, self._on_datagram)
        except OSError as error:
            text = f"UDP port {port} of {host}: {error.strerror}; writes are confirmed by agents"
            self._event_log.seldom("warning", "direct_failed", text)
            return False
        return True

    def close(self) -> None:
        """Listen no more."""
        if self._port is not None:
            self._port.close()
            self._port = None

    def _on_datagram(self, data: bytes, source: Source) -> bytes | None:
        opened = self._opener.open(data)
        if not isinstance(opened, Opened):
            self.dropped[opened.reason] += 1
            self._event_log.dropped_datagram(opened.reason, source[0])
            return None
        try:
            return self._sealer.seal(self._take(opened.sender, opened.payload))
        except WireError:
            # What was sealed for the group, recorded and sent here.
            self.dropped[DropReason.REPLAYED] += 1
            return None
