"""The applications of ``benchmarks.store_outage``: a login and a counter, on each kind of session.

``/login?NAME`` logs a user in, ``/add`` counts, ``/read`` reads. All answer who is logged in and
how far the counter is, as JSON. Each has the settings that its documentation begins with.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any

REDIS_PORT = int(os.environ.get("BENCH_REDIS_PORT", "6379"))
SECRET = os.environ.get("BENCH_SECRET", "") or secrets.token_hex()
DIRECTORY = os.environ.get("BENCH_DIRECTORY", "")


def visit(session: Any, path: str, query: str) -> str:
    """What every application does; the body of its answer."""
    if path == "/login":
        session["user"] = query
        session["count"] = 0
    elif path == "/add" and "user" in session:
        session["count"] = session["count"] + 1
    return json.dumps({"user": session.get("user", ""), "count": session.get("count", 0)})


async def _plain(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (event := (await receive())["type"]) != "lifespan.shutdown":
            await send({"type": f"{event}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = visit(scope["session"], scope["path"], scope["query_string"].decode()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-length", b"%d" % len(body))
    ]})
    await send({"type": "http.response.body", "body": body})


def make_ours() -> Any:
    """Plain ASGI; the settings are in the environment."""
    from clustersession.asgi import ClusterSessionMiddleware

    return ClusterSessionMiddleware(_plain)


def make_starsessions() -> Any:
    """Plain ASGI."""
    from starsessions import SessionAutoloadMiddleware, SessionMiddleware
    from starsessions.stores.redis import RedisStore

    store = RedisStore(f"redis://127.0.0.1:{REDIS_PORT}")
    return SessionMiddleware(
        SessionAutoloadMiddleware(_plain), store=store, lifetime=3600, cookie_https_only=False
    )


def make_flask() -> Any:
    """Flask with Flask-Session."""
    from flask import Flask, request, session
    from flask_session import Session
    from redis import Redis

    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=SECRET, SESSION_TYPE="redis", SESSION_REDIS=Redis(port=REDIS_PORT)
    )
    Session(app)

    @app.get("/<path>")
    def answer(path: str) -> str:
        return visit(session, f"/{path}", request.query_string.decode())

    return app


def make_django(backend: str) -> Any:
    """Django with one of its engines, and Redis as its cache."""
    import django
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIHandler

    settings.configure(
        ALLOWED_HOSTS=["*"], SECRET_KEY=SECRET, ROOT_URLCONF="benchmarks.outage_urls", USE_TZ=True,
        INSTALLED_APPS=["django.contrib.sessions"],
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        SESSION_ENGINE=f"django.contrib.sessions.backends.{backend}",
        DATABASES={"default": {
            "ENGINE": "django.db.backends.sqlite3", "NAME": Path(DIRECTORY, f"{backend}.sqlite3"),
        }},
        CACHES={"default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{REDIS_PORT}",
        }},
        LOGGING_CONFIG=None,
    )
    django.setup()
    if backend == "cached_db":
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
    return WSGIHandler()
