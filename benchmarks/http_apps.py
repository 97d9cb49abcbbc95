"""The applications that benchmarks put behind servers; which one is in BENCH_SESSIONS."""

import asyncio
import os
import secrets
from typing import Any

KIND = os.environ.get("BENCH_SESSIONS", "bare")
REDIS_PORT = int(os.environ.get("BENCH_REDIS_PORT", "6379"))
SECRET = os.environ.get("BENCH_SECRET", "") or secrets.token_hex()


def make_asgi() -> Any:
    """Plain ASGI, so that the server and the sessions are all there is."""
    from benchmarks.request import bare

    return _with_sessions(bare)


def make_starlette() -> Any:
    """A Starlette application. ``pair…`` takes its time between reading and writing."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from benchmarks.overhead import act
    from benchmarks.store_pairs import PAUSE_S, is_pair, look, write

    async def answer(request: Request) -> PlainTextResponse:
        action = request.path_params["action"]
        if action == "untouched":
            return PlainTextResponse("ok")
        if is_pair(action):
            look(request.session)
            await asyncio.sleep(PAUSE_S)
            write(action, request.session)
            return PlainTextResponse("ok")
        return PlainTextResponse(act(action, request.session))

    return _with_sessions(Starlette(routes=[Route("/{action}", answer)]))


def _with_sessions(app: Any) -> Any:
    if KIND == "ours":
        from clustersession.asgi import ClusterSessionMiddleware

        return ClusterSessionMiddleware(app)
    if KIND == "signed cookie":
        from starlette.middleware.sessions import SessionMiddleware

        return SessionMiddleware(app, SECRET)
    if KIND == "starsessions + Redis":
        from starsessions import SessionAutoloadMiddleware, SessionMiddleware
        from starsessions.stores.redis import RedisStore

        store = RedisStore(f"redis://127.0.0.1:{REDIS_PORT}")
        return SessionMiddleware(
            SessionAutoloadMiddleware(app), store=store, lifetime=3600, cookie_https_only=False
        )
    return app


def make_flask() -> Any:
    """The Flask application of the request benchmark."""
    from benchmarks.request_flask import make_app, make_bare

    if KIND == "bare":
        return make_bare()
    app = make_app()
    app.secret_key = SECRET
    if KIND == "ours":
        from clustersession.flask import ClusterSession

        ClusterSession(app)
    elif KIND == "Flask-Session + Redis":
        from flask_session import Session
        from redis import Redis

        app.config.update(SESSION_TYPE="redis", SESSION_REDIS=Redis(port=REDIS_PORT))
        Session(app)
    return app


def make_django() -> Any:
    """A Django application with one of Django's engines, or with ours."""
    from benchmarks import django_project

    return django_project.make(KIND, SECRET, REDIS_PORT)
