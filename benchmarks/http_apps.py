"""The applications that ``benchmarks.http`` puts behind servers; which one is in BENCH_SESSIONS."""

import os
import secrets
from typing import Any

KIND = os.environ.get("BENCH_SESSIONS", "bare")
REDIS_PORT = int(os.environ.get("BENCH_REDIS_PORT", "6379"))
SECRET = os.environ.get("BENCH_SECRET", "") or secrets.token_hex()


def make_asgi() -> Any:
    """Plain ASGI, so that the server and the sessions are all there is."""
    from benchmarks.request import bare

    if KIND == "ours":
        from clustersession.asgi import ClusterSessionMiddleware

        return ClusterSessionMiddleware(bare)
    if KIND == "signed cookie":
        from starlette.middleware.sessions import SessionMiddleware

        return SessionMiddleware(bare, SECRET)
    if KIND == "starsessions + Redis":
        from starsessions import SessionAutoloadMiddleware, SessionMiddleware
        from starsessions.stores.redis import RedisStore

        store = RedisStore(f"redis://127.0.0.1:{REDIS_PORT}")
        return SessionMiddleware(
            SessionAutoloadMiddleware(bare), store=store, lifetime=3600, cookie_https_only=False
        )
    return bare


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
