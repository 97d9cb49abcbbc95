"""One end of a link, as a process. Prints "open" and later why the link closed.

    python -m tests.net.link_end listen ADDRESS PORT
    python -m tests.net.link_end dial ADDRESS PORT
"""

import asyncio
import sys

from clustersession.net.link_server import Link, LinkLimits, LinkServer, dial
from clustersession.net.tls import tls_contexts
from clustersession.wire.keys import ClusterKeys

LIMITS = LinkLimits(silence_timeout_s=1.5)


async def main(role: str, address: str, port: str) -> None:
    tls = tls_contexts(ClusterKeys.derive(["the secret"], "shop"))
    closed = asyncio.Event()

    def begin(link: Link) -> None:
        link.start(lambda link, payload: None, end)
        print("open", flush=True)

    def end(link: Link, reason: str) -> None:
        print(reason, flush=True)
        closed.set()

    if role == "listen":
        server = LinkServer(
            address, int(port), 1, tls.server, bytes, bytes.decode, begin, limits=LIMITS
        )
        await server.start()
        print("listening", flush=True)
    else:
        begin(await dial(address, int(port), tls.client, b"", bytes.decode, 5, LIMITS))
    await closed.wait()


asyncio.run(main(*sys.argv[1:]))
