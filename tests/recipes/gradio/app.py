"""Gradio's interface, mounted behind a login of the application around it."""

import os
from typing import Annotated

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio
from fastapi import FastAPI, Form, Request

from clustersession.asgi import session_of
from clustersession.fastapi import ClusterSessionMiddleware, SessionDependency

app = FastAPI()
app.add_middleware(ClusterSessionMiddleware)


@app.post("/login")
async def log_in(session: SessionDependency, name: Annotated[str, Form()]) -> str:
    session.rotate()
    session["user"] = session.principal = name
    return name


@app.post("/logout")
async def log_out(session: SessionDependency) -> str:
    session.invalidate()
    return "out"


@app.get("/")
async def home(session: SessionDependency) -> dict[str, object]:
    session["visits"] = session.get("visits", 0) + 1
    return {"user": session.get("user"), "asked": session.get("asked", 0)}


def user_of(request: Request) -> str | None:
    return request.session.get("user")


def ask(question: str, request: gradio.Request) -> str:
    session = session_of(request.request)
    session.reload()
    session["asked"] = session.get("asked", 0) + 1
    session.save()
    return f"{request.username} asked {session['asked']}: {question}"


with gradio.Blocks() as page:
    field = gradio.Textbox()
    field.submit(ask, field, gradio.Textbox(), api_name="ask")

app = gradio.mount_gradio_app(app, page, path="/ui", auth_dependency=user_of, ssr_mode=False)
