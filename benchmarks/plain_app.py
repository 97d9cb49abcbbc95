"""An application without a framework, which starts in half a second: rounds of kills go faster."""

import json
from typing import Any

from clustersession.asgi import ClusterSessionMiddleware


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """POST sets {"key": ..., "value": ...}; every answer shows the session."""
    if scope["type"] == "lifespan":
        while (event := (await receive())["type"]) != "lifespan.shutdown":
            await send({"type": f"{event}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    session = scope["session"]
    if scope["method"] == "POST":
        content = json.loads((await receive())["body"])
        session[content["key"]] = content["value"]
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    body = json.dumps({"data": dict(session)}).encode()
    await send({"type": "http.response.body", "body": body})


app = ClusterSessionMiddleware(answer, distributable=True)
