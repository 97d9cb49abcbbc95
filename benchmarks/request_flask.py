"""What a session costs a Flask request, beside Flask's cookie and Flask-Session.

    python -m benchmarks flask [--small]
"""

import secrets
import tempfile
from contextlib import ExitStack
from pathlib import Path

from cachelib import FileSystemCache
from flask import Flask, Request, session
from flask.sessions import SecureCookieSessionInterface
from flask_session import Session
from redis import Redis

from benchmarks.overhead import Client, act, measure, redis_server, result_of
from benchmarks.request_wsgi import WsgiClient
from benchmarks.result import Result, Target
from benchmarks.store_pairs import is_pair, write_slowly
from clustersession.flask import ClusterSession

COOKIE, REDIS, FILES = "Flask's cookie", "Flask-Session + Redis", "Flask-Session + files"


def make_app() -> Flask:
    """The application, with Flask's own sessions."""
    app = Flask(__name__)
    app.secret_key = secrets.token_hex()

    @app.get("/<path>")
    def answer(path: str) -> str:
        if is_pair(path):
            write_slowly(path, session)
            return "ok"
        return "ok" if path == "untouched" else act(path, session)

    return app


def make_apps(directory: Path, redis_port: int) -> dict[str, Flask]:
    """One for each kind of session."""
    ours, cookie, redis, files = (make_app() for _ in range(4))
    ClusterSession(ours, state_dir=str(directory), route="bench")
    redis.config.update(SESSION_TYPE="redis", SESSION_REDIS=Redis(port=redis_port))
    Session(redis)
    cache = FileSystemCache(str(directory / "files"), threshold=1000)
    files.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=cache)
    Session(files)
    return {"ours": ours, COOKIE: cookie, REDIS: redis, FILES: files}


class NoSessions(SecureCookieSessionInterface):
    """Flask wants some session; this one reads no cookie."""

    def open_session(self, app: Flask, request: Request) -> None:
        """None: Flask makes the one that refuses writes."""


def make_bare() -> Flask:
    """The application without sessions."""
    app = make_app()
    app.session_interface = NoSessions()
    return app


def run(small: bool) -> Result:
    """All in one process, with Redis beside it."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        port = stack.enter_context(redis_server(directory))
        apps = make_apps(directory, port)
        clients: dict[str, Client] = {name: WsgiClient(app) for name, app in apps.items()}
        found = measure(clients, WsgiClient(make_bare()), small)
        apps["ours"].session_interface.runtime(apps["ours"]).close()  # type: ignore[attr-defined]
    result = result_of("Flask request path", found)
    read, write = found["3 keys", "read"], found["3 keys", "write"]
    ours_read, ours_write = read["ours"][0], write["ours"][0]
    result.targets = [
        Target("Flask read, over its cookie", ours_read / read[COOKIE][0], 0.5),
        Target("Flask read, over Flask-Session + Redis", ours_read / read[REDIS][0], 0.1),
        Target("Flask write, over its cookie", ours_write / write[COOKIE][0], 0.6),
    ]
    return result
