"""The session as a dependency of FastAPI."""

import pytest
from fastapi import FastAPI, WebSocket
from starlette.testclient import TestClient

from clustersession.asgi import ClusterSessionMiddleware
from clustersession.fastapi import SessionDependency


def test_the_dependency_of_fastapi() -> None:
    app = FastAPI()

    @app.get("/count")
    async def count(session: SessionDependency) -> dict[str, int]:
        session["n"] = session.get("n", 0) + 1
        return {"n": session["n"]}

    @app.websocket("/ws")
    async def websocket(socket: WebSocket, session: SessionDependency) -> None:
        await socket.accept()
        await socket.send_json(session)

    with (
        TestClient(app) as client,
        pytest.raises(RuntimeError, match="ClusterSessionMiddleware"),
    ):
        client.get("/count")
    app.middleware_stack = None
    app.add_middleware(ClusterSessionMiddleware)
    with TestClient(app) as client:
        client.get("/count")
        assert client.get("/count").json() == {"n": 2}
        with client.websocket_connect("/ws") as socket:
            assert socket.receive_json() == {"n": 2}
