"""A server of links that notes what it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from clustersession.net.link_server import Link, LinkLimits, LinkServer, dial

QUICK = LinkLimits(handshake_timeout_s=0.7, hello_timeout_s=0.7, close_timeout_s=0.5)


class Peer:
    """A server with its links, and what it was told about."""

    def __init__(
        self, tls, limits=QUICK, start=True, check_hello=None, echo=False, port=0, ports=1
    ):
        self.links: list[Link] = []
        self.messages: list[bytes] = []
        self.closed: list[str] = []
        self.refusals: list[str] = []
        self.start_links = start
        self.echo = echo
        self.server = LinkServer(
            "127.0.0.1", port, ports, tls.server, lambda: b"server", check_hello or bytes.decode,
            self.accepted, lambda address, reason: self.refusals.append(reason), limits,
        )

    def accepted(self, link: Link) -> None:
        self.links.append(link)
        if self.start_links:
            link.start(self.on_message, self.on_closed)

    def on_message(self, link: Link, payload: bytes) -> None:
        self.messages.append(payload)
        if self.echo:
            link.send(payload)

    def on_closed(self, link: Link, reason: str) -> None:
        self.closed.append(reason)

    async def dial(self, tls, limits=QUICK, hello=b"client", check_hello=bytes.decode, timeout_s=5):
        return await dial(
            *self.server.address, tls.client, hello, check_hello, timeout_s, limits
        )

    def nobody_came(self) -> bool:
        return not self.links and not self.messages


@asynccontextmanager
async def peer(tls, **options: Any) -> AsyncIterator[Peer]:
    made = Peer(tls, **options)
    await made.server.start()
    try:
        yield made
    finally:
        for link in made.links:
            link.close()
        await asyncio.gather(*(link.wait_closed() for link in made.links))
        await made.server.close()


def ignore(link: Link, what: object) -> None:
    pass
