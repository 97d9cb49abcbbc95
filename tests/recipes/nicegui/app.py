"""Pages of NiceGUI that know their user, with our session in the place of NiceGUI's."""

import os
from typing import Annotated

# Each node has files of its own; it is read when nicegui is imported.
os.environ["NICEGUI_STORAGE_PATH"] = os.environ["CLUSTERSESSION_STATE_DIR"] + "/nicegui"

from fastapi import FastAPI, Form, Request
from fastapi.responses import RedirectResponse
from nicegui import app as nicegui_app
from nicegui import ui
from nicegui.storage import RequestTrackingMiddleware

from clustersession.asgi import ClusterSessionMiddleware, session_of
from clustersession.fastapi import SessionDependency

app = FastAPI()
app.add_middleware(ClusterSessionMiddleware)


@app.post("/login")
async def log_in(session: SessionDependency, name: Annotated[str, Form()]) -> RedirectResponse:
    session.rotate()
    session["user"] = session.principal = name
    return RedirectResponse("/", 303)


@app.post("/logout")
async def log_out(session: SessionDependency) -> RedirectResponse:
    session.invalidate()
    return RedirectResponse("/", 303)


@ui.page("/")
async def home(request: Request) -> None:
    session = session_of(request)

    async def add_to_cart() -> None:
        if not await session.areload():  # what others wrote; false after a logout
            ui.navigate.to("/")
            return
        session["cart"] = session.get("cart", 0) + 1
        await session.asave()
        nicegui_app.storage.user["clicks"] = nicegui_app.storage.user.get("clicks", 0) + 1

    ui.label(f"user={session.get('user')} cart={session.get('cart')}")
    ui.label(f"clicks={nicegui_app.storage.user.get('clicks')}")
    ui.label(f"browser={nicegui_app.storage.browser['id']}")
    ui.button("Add", on_click=add_to_cart)


nicegui_app.add_middleware(RequestTrackingMiddleware)
ui.run_with(app)  # without a storage_secret: no SessionMiddleware
