"""Litestar applications that tests visit."""

from dataclasses import dataclass
from typing import Any

from litestar import Request, WebSocket, get, post, websocket

from clustersession.litestar import session_of


@dataclass
class Profile:
    user: str
    age: int


@get("/read")
async def read(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return request.session


@get("/untouched")
async def untouched() -> str:
    return "ok"


@post("/set", status_code=200)
async def set_values(request: Request[Any, Any, Any]) -> None:
    request.session.update(await request.json())


@post("/model", status_code=200)
async def set_model(request: Request[Any, Any, Any]) -> None:
    request.set_session(Profile("ann", 7))


@post("/replace", status_code=200)
async def replace(request: Request[Any, Any, Any]) -> None:
    request.set_session({"only": "this"})


@post("/login", status_code=200)
async def log_in(request: Request[Any, Any, Any]) -> None:
    session_of(request).rotate()
    request.session["user"] = "ann"


@post("/logout", status_code=200)
async def log_out(request: Request[Any, Any, Any]) -> None:
    request.clear_session()


@websocket("/ws")
async def socket_handler(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    session = session_of(socket)
    while (text := await socket.receive_text()) != "bye":
        session["said"] = text
        alive = await session.areload()
        await session.asave()
        await socket.send_json({"alive": alive, **session})
    await socket.close()


HANDLERS: list[Any] = [
    read, untouched, set_values, set_model, replace, log_in, log_out, socket_handler
]
