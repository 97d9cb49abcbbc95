"""Reads and makes the HTTP messages of MCP's streamable HTTP transport, as ASGI has them."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import anyio

from clustersession.asgi import Message, Receive, Scope

SESSION_ID = b"mcp-session-id"
"""The header that names a session, in the transport's specification."""

INITIALIZE_BYTES_MAX = 16 * 1024
"""What a client says of itself is kept with its session, so it is bounded."""

Headers = list[tuple[bytes, bytes]]

_INVALID_REQUEST = -32600
"""JSON-RPC 2.0, section 5.1."""

_OF_ONE_REQUEST = frozenset({
    SESSION_ID, b"accept", b"content-encoding", b"content-length", b"content-type",
    b"last-event-id", b"mcp-protocol-version", b"transfer-encoding",
})  # fmt: skip
"""Headers that say something of one request's body or purpose, and nothing of its client."""


class Answer(NamedTuple):
    """Is a whole response. ``headers`` are as ASGI has them, with names in lower case."""

    status: int
    headers: Headers
    body: bytes

    def messages(self) -> Iterable[Message]:
        """Give what an ASGI application sends to answer with it."""
        yield {"type": "http.response.start", "status": self.status, "headers": self.headers}
        yield {"type": "http.response.body", "body": self.body}


def refusal(status: int, text: str) -> Answer:
    """Return an answer in the form in which the SDK's own refusals come."""
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": _INVALID_REQUEST, "message": text}}
    body = json.dumps(error).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    return Answer(status, headers, body)


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """Return the last value of a header; empty without one."""
    found = b""
    for key, value in headers:
        if key.lower() == name:
            found = value
    return found.decode("latin-1")


def without(headers: Iterable[tuple[bytes, bytes]], *names: bytes) -> Headers:
    """Return the headers but for those of these names."""
    return [(key, value) for key, value in headers if key.lower() not in names]


def with_session_id(scope: Scope, session_id: str) -> Scope:
    """Return a request that names a session."""
    return {**scope, "headers": [*scope["headers"], (SESSION_ID, session_id.encode("latin-1"))]}


def posting(scope: Scope, message: dict[str, Any], local_id: str | None) -> tuple[Scope, Receive]:
    """Make a request of the same client, with its credentials, that posts a JSON-RPC message."""
    body = json.dumps(message).encode()
    headers = without(scope["headers"], *_OF_ONE_REQUEST)
    headers += [
        (b"accept", b"application/json, text/event-stream"),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    ]
    return _asking(scope, "POST", headers, local_id), _receive_once(body)


def deleting(scope: Scope, local_id: str) -> tuple[Scope, Receive]:
    """Make a request of the same client that ends a session of the SDK's."""
    headers = without(scope["headers"], *_OF_ONE_REQUEST)
    return _asking(scope, "DELETE", headers, local_id), _receive_once(b"")


def _asking(scope: Scope, method: str, headers: Headers, local_id: str | None) -> Scope:
    if local_id is not None:
        headers.append((SESSION_ID, local_id.encode("latin-1")))
    return {**scope, "method": method, "headers": headers}


def _receive_once(body: bytes) -> Receive:
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not left:
            await anyio.sleep_forever()  # this client never goes away
        return left.pop()

    return receive


class RepeatableBody:
    """Receives a request's body, so that it can be read more than once until it is forgotten."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: list[Message] | None = []

    def reader(self) -> Receive:
        """Return a ``receive`` that begins with what was received before."""
        place = 0

        async def receive() -> Message:
            nonlocal place
            kept = self._kept
            if kept is None or place >= len(kept):
                message = await self._receive()
                if self._kept is not None:
                    self._kept.append(message)
                    place += 1
                return message
            place += 1
            return kept[place - 1]

        return receive

    def forget(self) -> None:
        """Keep nothing from now on: whoever reads has read it all, or goes on to read."""
        self._kept = None

    async def initialize_params(self) -> dict[str, Any] | None:
        """Return the params of an ``initialize`` request; None for another body or a long one."""
        receive, body = self.reader(), b""
        while len(body) <= INITIALIZE_BYTES_MAX:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if not message.get("more_body", False):
                return _initialize_params(body)
        return None


def _initialize_params(body: bytes) -> dict[str, Any] | None:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if len(body) > INITIALIZE_BYTES_MAX or not isinstance(request, dict):
        return None
    params = request.get("params")
    if request.get("method") != "initialize" or "id" not in request:
        return None
    return params if isinstance(params, dict) else {}
