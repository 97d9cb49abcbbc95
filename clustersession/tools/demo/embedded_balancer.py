"""Is a small sticky HTTP balancer for the demo, where neither HAProxy nor Apache is installed.

It does what those do with our cookie and nothing else: the part after the first dot of the session
cookie names the node; a node that refuses the connection is passed over; a request without a known
route goes to the nodes in turn. One request per connection, HTTP/1.1, loopback only: not a product.

    python -m clustersession.tools.demo.embedded_balancer 8080 CLUSTERSESSION \
        tomcat1=8001 tomcat2=8002
"""

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Mapping

HEAD_BYTES_MAX = 64 * 1024
HEAD_TIMEOUT_S = 10.0
CHUNK_BYTES = 64 * 1024
_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n"
    b"Connection: close\r\n\r\nno node answers\n"
)


class StickyBalancer:
    """Forwards each request to the node its cookie names, or to the next one that answers.

    ``ports`` maps routes to ports on 127.0.0.1. State: ``_turn`` counts requests, so that those
    without a known route go to the nodes in turn.
    """

    def __init__(self, cookie_name: str, ports: Mapping[str, int]) -> None:
        self._cookie_name = cookie_name
        self._ports = dict(ports)
        self._turn = itertools.count()

    def candidates(self, head: bytes) -> list[str]:
        """List the routes to try for a request, best first."""
        routes = list(self._ports)
        start = next(self._turn) % len(routes)
        in_turn = routes[start:] + routes[:start]
        wanted = self._route_of(head)
        if wanted not in self._ports:
            return in_turn
        return [wanted, *(route for route in in_turn if route != wanted)]

    def _route_of(self, head: bytes) -> str:
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.strip().lower() != b"cookie":
                continue
            for pair in value.decode("latin-1").split(";"):
                cookie, _, content = pair.strip().partition("=")
                if cookie == self._cookie_name:
                    return content.partition(".")[2]
        return ""

    async def serve(self, port: int) -> None:
        """Serve on a loopback port until cancelled."""
        server = await asyncio.start_server(
            self._handle, "127.0.0.1", port, limit=HEAD_BYTES_MAX
        )
        async with server:
            await server.serve_forever()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            await self._forward(head, reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _forward(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for route in self.candidates(head):
            try:
                node_reader, node_writer = await asyncio.open_connection(
                    "127.0.0.1", self._ports[route]
                )
            except OSError:
                continue
            node_writer.write(_one_request_only(head))
            upstream = asyncio.create_task(_pump(reader, node_writer))
            try:
                await _pump(node_reader, writer)
            finally:
                upstream.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await upstream
                node_writer.close()
            return
        writer.write(_UNAVAILABLE)
        await writer.drain()


def _one_request_only(head: bytes) -> bytes:
    """Put "Connection: close" into the head, so that the answer ends when the node says so."""
    lines = [
        line for line in head[:-4].split(b"\r\n")
        if not line.lower().startswith((b"connection:", b"keep-alive:"))
    ]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()


def main(arguments: list[str]) -> int:
    """Run from the command line: listening port, cookie name, then route=port for each node."""
    port, cookie_name, *nodes = arguments
    ports = {route: int(number) for route, _, number in (node.partition("=") for node in nodes)}
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(StickyBalancer(cookie_name, ports).serve(int(port)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
