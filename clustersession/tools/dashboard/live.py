"""Looks at the node, and streams what changes to the pages that are open."""

import json
import time
from collections.abc import AsyncIterator, Callable

import anyio
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from clustersession.operations.observing import Access, Snapshot, look
from clustersession.tools.dashboard.sections import sections

STREAMS_MAX = 16
STREAM_LIFE_S = 10.0
LOOK_INTERVAL_S = 1.0
LOOK_INTERVAL_IN_TROUBLE_S = 5.0


class Live:
    """Looks at the node once for all pages that are open, and streams what changes.

    State: ``_newest`` and ``_at_s`` are the last look and when it was taken, on the monotonic
    clock; None and never before the first. They change under ``_lock``, so that there is one look
    at a time. ``_streams`` counts the streams that are open, STREAMS_MAX at most.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = anyio.Lock()
        self._newest: Snapshot | None = None
        self._at_s = float("-inf")
        self._streams = 0

    async def newest(self) -> Snapshot:
        """Return a look that is at most as old as the interval between looks."""
        async with self._lock:
            before = self._newest
            # A node without an agent has to be read from disk, and changes no more.
            slowly = before is not None and before.trouble
            interval_s = LOOK_INTERVAL_IN_TROUBLE_S if slowly else LOOK_INTERVAL_S * 0.8
            if before is None or time.monotonic() - self._at_s > interval_s:
                self._newest = await run_in_threadpool(look, self._access, before)
                self._at_s = time.monotonic()
            assert self._newest is not None
            return self._newest

    def stream(self) -> Response:
        """Answer with server-sent events: what changes in the page, from now on."""
        if self._streams >= STREAMS_MAX:
            return PlainTextResponse(
                "Too many pages are live already.\n", 503, {"retry-after": "30"}
            )
        self._streams += 1
        return _Stream(self._changes(), self._stream_ended)

    def _stream_ended(self) -> None:
        self._streams -= 1

    async def _changes(self) -> AsyncIterator[str]:
        sent: dict[str, Markup] = {}
        # Ends by itself, and the browser comes again: a server that stops waits for its streams.
        ends_s = time.monotonic() + STREAM_LIFE_S
        yield "retry: 500\n\n"
        while time.monotonic() < ends_s:
            now = sections(await self.newest())
            changed = {name: html for name, html in now.items() if sent.get(name) != html}
            sent = now
            yield f"data: {json.dumps(changed)}\n\n"
            await anyio.sleep(LOOK_INTERVAL_S)


class _Stream(StreamingResponse):
    """Streams server-sent events, and tells when the stream is over."""

    def __init__(self, content: AsyncIterator[str], on_end: Callable[[], None]) -> None:
        super().__init__(content, media_type="text/event-stream", headers={
            "x-accel-buffering": "no",
        })
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()
