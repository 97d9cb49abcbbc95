"""Has a node join and leave with its server, by ASGI's lifespan protocol."""

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@asynccontextmanager
async def joined(
    start: Callable[[], None], close: Callable[[], None], receive: Receive, send: Send
) -> AsyncIterator[None]:
    """Start the node for as long as the server runs; one that cannot work ends the server."""
    try:
        start()
    except Exception as error:
        # Raising alone would read as "this application has no lifespan" to the server.
        await receive()
        await send({"type": "lifespan.startup.failed", "message": f"clustersession: {error}"})
        raise
    try:
        yield
    finally:
        close()


async def answer_lifespan(receive: Receive, send: Send) -> None:
    """Answer the server in the place of an application that has no lifespan itself."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
