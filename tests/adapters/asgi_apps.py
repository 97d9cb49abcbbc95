"""Applications that tests of the ASGI middleware visit."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import BackgroundTasks, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse

from clustersession.asgi import ClusterSessionMiddleware


def make_app(**options: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(ClusterSessionMiddleware, **options)

    @app.get("/read")
    async def read(request: Request) -> dict[str, Any]:
        return request.session

    @app.get("/untouched")
    async def untouched() -> str:
        return "ok"

    @app.post("/set")
    async def set_values(request: Request) -> str:
        request.session.update(await request.json())
        return "ok"

    @app.post("/append")
    async def append(request: Request) -> str:
        request.session["cart"].append("x")
        return "ok"

    @app.post("/login")
    async def login(request: Request) -> str:
        request.session.rotate()  # type: ignore[attr-defined]
        request.session["user"] = "ann"
        return "ok"

    @app.post("/logout")
    async def logout(request: Request) -> str:
        request.session.invalidate()  # type: ignore[attr-defined]
        return "ok"

    @app.post("/background")
    async def background(request: Request, tasks: BackgroundTasks) -> str:
        tasks.add_task(request.session.__setitem__, "background", True)
        return "ok"

    @app.post("/stream")
    async def stream(request: Request) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            for i in range(3):
                request.session["streamed"] = i
                yield b"x"

        return StreamingResponse(body())

    @app.post("/bad")
    async def bad(request: Request) -> str:
        request.session["thing"] = object()
        return "ok"

    @app.post("/raise")
    async def fail(request: Request) -> str:
        request.session["half"] = True
        raise RuntimeError("the handler failed")

    @app.websocket("/ws")
    async def websocket(socket: WebSocket) -> None:
        socket.session["opened"] = socket.session.get("opened", 0) + 1
        await socket.accept()
        while True:
            text = await socket.receive_text()
            socket.session["said"] = text
            if text == "save":
                await socket.session.asave()  # type: ignore[attr-defined]
            await socket.send_text("noted")

    return app



def bare_app() -> Any:
    """Counts visits, answers with the path it sees and what the session holds."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        if scope["path"] == "/count":
            session["n"] = session.get("n", 0) + 1
        elif scope["path"] == "/end":
            session.invalidate()
        elif scope["path"] == "/replace":
            scope["session"] = {"replaced": True}
        body = json.dumps({"path": scope["path"], "data": dict(scope["session"])}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


def client_of(middleware: ClusterSessionMiddleware) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=middleware)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://test")
