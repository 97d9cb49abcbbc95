"""Knows which transport of this process's SDK serves which session, and makes one where none does.

The SDK's session manager keeps a transport for each session in a dict of its own process, under an
id of its own. Clients hold an id of ours instead. When another process begins a session, what its
client said at ``initialize`` is stored in it; here the SDK is told the same once more, by a request
that looks as if the client had sent it. So no private part of the SDK is touched, and its checks of
hosts, origins and credentials see the headers of the client whose request needs the transport.
"""

import json
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, authorization_context

from clustersession.asgi import ASGIApp, Message, Receive, Scope
from clustersession.mcp.messages import SESSION_ID, Answer, deleting, header, posting, refusal
from clustersession.session.session import Session
from clustersession.session.visit import visit_of
from clustersession.worker.runtime import Runtime

HANDSHAKE = "mcp.handshake"
"""The attribute that makes a session one of MCP: what its client said at ``initialize``."""

HANDSHAKE_TIMEOUT_S = 10.0
TRANSPORTS_MAX = 10_000
"""As many as the SDK itself keeps by default; one that is forgotten here is made again. Each may
hold a log of what it sent, and nobody says here when a session ends on another node."""

_ASKS_FOR_CREDENTIALS = (401, 403)

NOT_FOUND = refusal(404, "Session not found")
"""For an id that is forged, unknown or over: the client is to initialize again."""


@dataclass(eq=False)
class Transport:
    """Is what this process knows of the SDK's transport for one session.

    runtime: of the session. session_id: of ours, without a route; empty until the session is
    stored. local_id: the SDK's; None where it is stateless and has none. token: names what this
    transport sends in the log of events, see ``events``. repeating: the handshake is being
    repeated, whose messages no client is to get.
    """

    runtime: Runtime
    session_id: str = ""
    local_id: str | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    repeating: bool = False
    log: Any = None


_current: ContextVar[Transport | None] = ContextVar("clustersession_mcp_transport", default=None)


def current_transport() -> Transport | None:
    """Return the transport whose request, or whose messages, are being handled in this context."""
    return _current.get()


@contextmanager
def serving(transport: Transport) -> Iterator[None]:
    """Have ``current_transport`` return it; tasks that are started within inherit that."""
    before = _current.set(transport)
    try:
        yield
    finally:
        _current.reset(before)


def owner_of(scope: Scope) -> str:
    """Say whose credential the SDK found in a request; empty for none.

    A session belongs to the credential that began it, on other nodes too; the SDK compares the same
    on one node.
    """
    user = scope.get("user")
    if not isinstance(user, AuthenticatedUser):
        return ""
    return json.dumps(authorization_context(user), sort_keys=True)


class OwnerCheck:
    """Refuses the credentials of others, where the SDK is stateless and compares none.

    Which credential a request has is found by a middleware of the SDK, after the request was passed
    on: it is known when the body is asked for, unless somebody reads that before, and at the latest
    when an answer begins. ``refused``: the answer is not to be sent, and nothing is stored.
    """

    def __init__(self, session: Session, scope: Scope, receive: Receive) -> None:
        self._owner: str = session[HANDSHAKE]["owner"]
        self._session = session
        self._scope = scope
        self._receive = receive
        self.refused = False

    async def receive(self) -> Message:
        """Receive the body; an empty one for others, whose request then means nothing."""
        if self.refused:
            return {"type": "http.disconnect"}
        if "user" in self._scope and self._is_of_another():
            return {"type": "http.request", "body": b"", "more_body": False}
        return await self._receive()

    def refuses(self, message: Message) -> bool:
        """Tell whether a message of the answer is not to be sent."""
        starts = message["type"] == "http.response.start"
        return self.refused or (
            starts and message["status"] not in _ASKS_FOR_CREDENTIALS and self._is_of_another()
        )

    def _is_of_another(self) -> bool:
        self.refused = owner_of(self._scope) != self._owner
        if self.refused:
            visit_of(self._session).discarded = True
        return self.refused


def handshake_of(params: dict[str, Any], scope: Scope, local_id: str | None) -> dict[str, Any]:
    """Return what is stored of a handshake."""
    return {
        "params": json.dumps(params), "owner": owner_of(scope), "stateless": local_id is None,
    }  # fmt: skip


class HandshakeRefused(Exception):
    """Says that the SDK refused to begin a session again. ``answer`` is for the client."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Transports:
    """Holds the transports of one application in this process, by the session's id.

    _making: what others wait for who need the same transport.
    """

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime
        self._by_session: OrderedDict[str, Transport] = OrderedDict()
        self._making: dict[str, anyio.Event] = {}

    def begin(self) -> Transport:
        """Return a transport for a handshake that a client is about to make."""
        return Transport(self._runtime)

    def add(self, transport: Transport) -> None:
        """Note a transport whose session is stored."""
        self._by_session[transport.session_id] = transport
        if len(self._by_session) > TRANSPORTS_MAX:
            self._by_session.popitem(last=False)

    def forget(self, transport: Transport) -> None:
        """Forget a transport whose session is over."""
        if self._by_session.get(transport.session_id) is transport:
            del self._by_session[transport.session_id]

    async def drop(self, transport: Transport, scope: Scope) -> None:
        """Forget a transport whose session the application has ended, and have the SDK do so."""
        known = self._by_session.get(transport.session_id) is transport
        self.forget(transport)
        if known and transport.local_id is not None:
            await self.end(transport.local_id, scope)

    async def of(
        self, session: Session, scope: Scope, gone: Transport | None = None
    ) -> Transport:
        """Return the transport of a session, made now when there is none, or ``gone`` was it.

        Raises HandshakeRefused.
        """
        session_id = session.sid
        assert session_id is not None
        while True:
            found = self._by_session.get(session_id)
            if found is not None and found is not gone:
                self._by_session.move_to_end(session_id)
                return found
            if session_id not in self._making:
                break
            await self._making[session_id].wait()
        made = self._making[session_id] = anyio.Event()
        try:
            transport = await self._repeat_handshake(session, session_id, scope)
            self.add(transport)
            return transport
        finally:
            del self._making[session_id]
            made.set()

    async def _repeat_handshake(
        self, session: Session, session_id: str, scope: Scope
    ) -> Transport:
        known = session[HANDSHAKE]
        transport = Transport(self._runtime, session_id)
        if known["stateless"]:
            return transport
        transport.repeating = True
        first: dict[str, Any] = {
            "jsonrpc": "2.0", "id": "clustersession", "method": "initialize",
            "params": json.loads(known["params"]),
        }  # fmt: skip
        asking, receive = posting(scope, first, None)
        with serving(transport):
            answer = await self._ask(asking, receive)
            local_id = header(answer.headers, SESSION_ID)
            if answer.status >= 400 or not local_id:
                raise HandshakeRefused(answer if answer.status >= 400 else NOT_FOUND)
            if owner_of(asking) != known["owner"]:
                await self.end(local_id, scope)
                raise HandshakeRefused(NOT_FOUND)
            second = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            await self._ask(*posting(scope, second, local_id))
        transport.local_id, transport.repeating = local_id, False
        return transport

    async def end(self, local_id: str, scope: Scope) -> None:
        """Have the SDK end a session of its own, with what is open of it."""
        await self._ask(*deleting(scope, local_id))

    async def _ask(self, scope: Scope, receive: Receive) -> Answer:
        status, headers, body = 503, [], b""

        async def take(message: Message) -> None:
            nonlocal status, headers, body
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [(name.lower(), value) for name, value in message.get("headers", ())]
            elif message["type"] == "http.response.body":
                body += message.get("body", b"")

        with anyio.move_on_after(HANDSHAKE_TIMEOUT_S) as limit:
            await self._app(scope, receive, take)
        if limit.cancelled_caught:
            return refusal(503, "the MCP server did not begin the session again in time")
        return Answer(status, headers, body)
