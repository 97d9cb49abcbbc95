"""The application under fault, as ASGI and as WSGI: sessions that say whose they are.

Every session carries its owner, so that one handed to somebody else is noticed, and every value
is an attribute of its own, so that what was written can be compared with what is there.
"""

import ctypes
import json
import os
import re
import time
from typing import Any

from clustersession import asgi, wsgi

OWNER = "owner"
GONE = 410


def serve(session: Any, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """One request: status and content."""
    if path == "/hello":
        return 200, {"pid": os.getpid()}
    if path == "/hold":
        hold_interpreter(body["seconds"])
        return 200, {"pid": os.getpid()}
    if path == "/create":
        session[OWNER] = body["value"]
    elif OWNER not in session:
        return GONE, {}
    elif path == "/add":
        session[f"v{body['value']}"] = body.get("padding", "")
    elif path == "/count":
        session["count"] = session.get("count", 0) + 1
    elif path == "/login":
        session.rotate()
        session["user"] = session.principal = body["value"]
    data = {name: value for name, value in session.items() if name[0] != "v"}
    data["values"] = sorted(name[1:] for name in session if name[0] == "v")
    if path == "/logout":
        session.invalidate()
    return 200, {"data": data}


def hold_interpreter(seconds: float) -> None:
    """Keep every other thread of this process from running: one C call, then a real regex."""
    # PyDLL calls do not release the interpreter lock.
    ctypes.PyDLL(None).usleep(int(seconds * 900_000))
    began_s, length = time.monotonic(), 18
    while time.monotonic() - began_s < seconds / 10:
        re.match(r"(a+)+$", "a" * length + "b")
        length += 1


async def _asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
    content = b""
    more = True
    while more:
        message = await receive()
        content += message.get("body", b"")
        more = message.get("more_body", False)
    status, answer = serve(scope["session"], scope["path"], json.loads(content or b"{}"))
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def _wsgi(environ: Any, start_response: Any) -> list[bytes]:
    content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    status, answer = serve(
        environ["clustersession.session"], environ["PATH_INFO"], json.loads(content or b"{}")
    )
    start_response(f"{status} -", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]


over_asgi = asgi.ClusterSessionMiddleware(_asgi, distributable=True)
over_wsgi = wsgi.ClusterSessionMiddleware(_wsgi, distributable=True)


def post_worker_init(worker: Any) -> None:
    """gunicorn calls this in each worker: join the cluster now."""
    worker.wsgi.start()
