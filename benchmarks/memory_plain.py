"""The smallest ASGI application; it imports nothing of ours."""

from typing import Any


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Answer everything; write five attributes of a session where there is one."""
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
    if "session" in scope:
        scope["session"].update({f"attribute{number}": "x" * 40 for number in range(5)})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
