"""Starlette and Flask, each a client of OAuth 2, in one server."""

import with_flask
import with_starlette
from a2wsgi import WSGIMiddleware
from starlette.types import Receive, Scope, Send

flask_app = WSGIMiddleware(with_flask.app)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope.get("path", "").startswith("/flask"):
        await flask_app(scope, receive, send)
    else:
        await with_starlette.app(scope, receive, send)
