"""Stands around an MCP server's ASGI application and gives its tools a session of the cluster.

The id that a client sends as ``mcp-session-id`` is ours. It is born at ``initialize``, when the
session is stored, and never at another request. A node that has not seen the client yet tells its
own SDK what the client said then, see ``transports``, and goes on: the client does not notice.

Cookies do not count here, in either direction: a page in a browser must not be able to use the MCP
session of somebody, and the id of a browser's session is none of MCP.

An answer often streams: its headers go out before a tool runs. So what the tool changed is stored
before each part of the answer is sent, and a client that has a result finds what it did elsewhere.
"""

import logging
from typing import Any

import anyio

from clustersession.asgi import ASGIApp, ClusterSessionMiddleware, Message, Receive, Scope, Send
from clustersession.core.errors import ConfigurationError, ReplicaError, SessionError
from clustersession.mcp.messages import (
    INITIALIZE_BYTES_MAX,
    SESSION_ID,
    Answer,
    RepeatableBody,
    header,
    refusal,
    with_session_id,
    without,
)
from clustersession.mcp.transports import (
    HANDSHAKE,
    NOT_FOUND,
    HandshakeRefused,
    OwnerCheck,
    Transport,
    Transports,
    handshake_of,
    serving,
)
from clustersession.requests.paths import ExcludedSession
from clustersession.session.session import Session
from clustersession.worker.runtime import Runtime

_log = logging.getLogger("clustersession")

_HEADER_NAME = SESSION_ID.decode()
_COOKIE_NAME = "mcp_session"
_CLIENTS_HEADERS = "clustersession.mcp.headers"
"""Where the scope has the headers as the client sent them."""
_NOT_ALLOWED = 405
"""What a stateless SDK answers to DELETE."""

NOT_STORED = refusal(503, "no session can be begun here at this moment; try again later")
"""For a replica that is full or closed, and a limit that is reached."""


class NoMcpSession(ExcludedSession):
    """Stands where a request belongs to no session of MCP."""

    __slots__ = ()

    why_not = (
        "the client sent no mcp-session-id. Sessions begin at initialize; protocol 2026-07-28 and "
        'later have none. Let the client connect by the handshake: Client(url, mode="legacy")'
    )


class ClusterMCPMiddleware:
    """Gives every request of an MCP session its ``session``: ``session_of(context.request)``.

    Options are those of ClusterSessionMiddleware. ``header_name`` is ``mcp-session-id``. Raises
    ConfigurationError, or fails the server's start where that does.
    """

    def __init__(
        self, app: ASGIApp, /, *, runtime: Runtime | None = None, **options: Any
    ) -> None:
        self._app = app
        name = options.pop("header_name", _HEADER_NAME)
        if str(name).lower() != _HEADER_NAME:
            runtime = Runtime.refused(ConfigurationError(
                f"header_name is {name!r}; clients of MCP send their id in {_HEADER_NAME!r}"
            ))  # fmt: skip
        if runtime is None:
            # The cookie is not used; its name keeps this session apart from a browser's.
            options = {"cookie_name": _COOKIE_NAME, **options, "header_name": _HEADER_NAME}
        self._sessions = ClusterSessionMiddleware(self._serve, runtime=runtime, **options)
        self.runtime = self._sessions.runtime
        self._transports = Transports(app, self.runtime)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            headers = without(scope["headers"], b"cookie")
            if not any(name == SESSION_ID for name, _ in headers):
                headers.append((SESSION_ID, b""))  # asks for an answer in the header, and no cookie
            scope = {**scope, _CLIENTS_HEADERS: scope["headers"], "headers": headers}
        elif scope["type"] != "lifespan":
            return await self._app(scope, receive, send)
        return await self._sessions(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = scope.get("session")
        if scope["type"] != "http" or not isinstance(session, Session):
            return await self._app(scope, receive, send)
        headers = scope[_CLIENTS_HEADERS]
        inner = {**scope, "headers": without(headers, SESSION_ID)}
        if isinstance(session, ExcludedSession):
            return await self._app(inner, receive, send)
        if header(headers, SESSION_ID):
            return await self._go_on(session, inner, receive, send)
        body = RepeatableBody(receive)
        params = await body.initialize_params() if scope["method"] == "POST" else None
        if params is None:
            inner["session"] = NoMcpSession(self.runtime.manager())
            return await self._pass_by(inner, body.reader(), send)
        return await self._initialize(session, params, inner, body.reader(), send)

    async def _pass_by(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what is no handshake and belongs to no session."""
        begun = ""

        async def pass_on(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                begun = header(headers, SESSION_ID) if message["status"] < 400 else ""
                message = {**message, "headers": without(headers, SESSION_ID)}
            if not begun:
                await send(message)

        await self._app(scope, receive, pass_on)
        if begun:
            await self._transports.end(begun, scope)
            await _answer(send, refusal(
                413, f"an initialize request may have at most {INITIALIZE_BYTES_MAX} bytes"
            ))  # fmt: skip

    async def _initialize(
        self, session: Session, params: dict[str, Any], scope: Scope, receive: Receive, send: Send
    ) -> None:
        transport = self._transports.begin()
        refused = False

        async def begin(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] < 400:
                headers = message.get("headers", ())
                transport.local_id = header(headers, SESSION_ID) or None
                session[HANDSHAKE] = handshake_of(params, scope, transport.local_id)
                transport.session_id = await _stored_id(session)
                refused = not transport.session_id
                if not refused:
                    self._transports.add(transport)
            if not refused:
                await self._send(session, message, send)

        with serving(transport):
            await self._app(scope, receive, begin)
        if refused:
            if transport.local_id is not None:
                await self._transports.end(transport.local_id, scope)
            await _answer(send, NOT_STORED)

    async def _go_on(
        self, session: Session, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if HANDSHAKE not in session:
            return await _answer(send, NOT_FOUND)
        body = RepeatableBody(receive)
        try:
            transport = await self._transports.of(session, scope)
            if await self._forward(session, transport, scope, body, send, retry=True):
                transport = await self._transports.of(session, scope, gone=transport)
                await self._forward(session, transport, scope, body, send, retry=False)
            if session.sid is None:
                await self._transports.drop(transport, scope)
        except HandshakeRefused as refused:
            await _answer(send, refused.answer)
        return None

    async def _forward(
        self, session: Session, transport: Transport, scope: Scope, body: RepeatableBody,
        send: Send, *, retry: bool,
    ) -> bool:  # fmt: skip
        """Have the SDK serve a request; True when it has forgotten the session and did not.

        It forgets one that was idle for long, whatever the cluster knows of it.
        """
        local_id, ends = transport.local_id, scope["method"] == "DELETE"
        forgotten, check = False, OwnerCheck(session, scope, body.reader())

        async def pass_on(message: Message) -> None:
            nonlocal forgotten
            if local_id is None and check.refuses(message):
                return
            if message["type"] == "http.response.start":
                status = message["status"]
                if status == 404 and retry and local_id is not None:
                    forgotten = True
                elif ends and (status < 300 or (status == _NOT_ALLOWED and local_id is None)):
                    message = {**message, "status": 200}
                    self._transports.forget(transport)
                    session.invalidate()
                if not forgotten:
                    body.forget()
            if not forgotten:
                await self._send(session, message, send)

        with serving(transport):
            if local_id is None:
                await self._app(scope, check.receive, pass_on)
                if check.refused:
                    await _answer(send, NOT_FOUND)
                return False
            inner = with_session_id(scope, local_id)
            if scope["method"] == "GET":
                await self._stream(session, local_id, inner, body.reader(), pass_on)
            else:
                await self._app(inner, body.reader(), pass_on)
        return forgotten

    async def _stream(
        self, session: Session, local_id: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve a stream that stays open until its client goes or its session ends anywhere."""
        failure: Exception | None = None

        async def end_with_the_session() -> None:
            async for change in session.watch():
                if change.ended:
                    await self._transports.end(local_id, scope)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end_with_the_session)
            try:
                await self._app(scope, receive, send)
            except Exception as error:
                failure = error  # not in a group: who is around us judges by the type
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _send(self, session: Session, message: Message, send: Send) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": without(message.get("headers", ()), SESSION_ID)}
        elif session.modified:
            await session.asave()
        await send(message)


async def _stored_id(session: Session) -> str:
    """Store a session that begins; return its id, empty when it is not to be had elsewhere."""
    try:
        await session.asave()
    except (SessionError, ReplicaError) as error:
        _log.warning("a session of MCP could not be stored: %s", error)
        session.invalidate()
    return session.sid or ""


async def _answer(send: Send, answer: Answer) -> None:
    for message in answer.messages():
        await send(message)
