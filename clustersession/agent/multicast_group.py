"""Seals what goes out to the multicast group, and opens what comes in from it."""

from collections import Counter
from collections.abc import Callable

from clustersession.agent.event_log import EventLog
from clustersession.net.multicast import MulticastChannel
from clustersession.settings.settings import Settings
from clustersession.wire.envelope import DropReason, Opened, Opener, Sealer
from clustersession.wire.keys import ClusterKeys


class Group:
    """Sends sealed datagrams to the group, and opens those that come from it.

    ``on_opened(sender, payload)`` is called for each authentic datagram, ``dropped`` counts others.
    """

    def __init__(
        self,
        settings: Settings,
        keys: ClusterKeys,
        event_log: EventLog,
        on_opened: Callable[[bytes, bytes], None],
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._event_log = event_log
        self._on_opened = on_opened
        self._opener = Opener(keys, settings.cluster_name)
        # Seals as the node of the present life; None before the first has begun.
        self._sealer: Sealer | None = None
        # None while the group is not joined.
        self.channel: MulticastChannel | None = None
        # How many datagrams were not accepted, by reason.
        self.dropped: Counter[DropReason] = Counter()

    async def join(self) -> bool:
        """Join the group; False, and a line in the log, when this host cannot."""
        settings = self._settings
        channel = MulticastChannel(
            settings.multicast_address, settings.multicast_port, settings.multicast_ttl,
            "0.0.0.0" if ":" in settings.bind else settings.bind, self._on_datagram,
            on_trouble=lambda text: self._event_log.seldom("warning", "multicast_failed", text),
        )
        try:
            await channel.start()
        except OSError as error:
            text = f"{error}; set seeds where there is none"
            self._event_log.seldom("warning", "multicast_failed", text)
            return False
        self.channel = channel
        return True

    def seal_as(self, node: bytes, epoch: int) -> None:
        """Send as this node from now on; see Sealer for what an epoch must be."""
        self._sealer = Sealer(self._keys, self._settings.cluster_name, node, epoch)

    def send(self, payload: bytes) -> None:
        """Send to the group, if it was joined."""
        if self.channel is not None and self._sealer is not None:
            self.channel.send(self._sealer.seal(payload))

    def close(self) -> None:
        """Leave the group."""
        if self.channel is not None:
            self.channel.close()

    def _on_datagram(self, data: bytes, source: tuple[str, int]) -> None:
        opened = self._opener.open(data)
        if isinstance(opened, Opened):
            self._on_opened(opened.sender, opened.payload)
            return
        self.dropped[opened.reason] += 1
        self._event_log.dropped_datagram(opened.reason, source[0])
