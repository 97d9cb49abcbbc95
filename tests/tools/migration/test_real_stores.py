"""Old applications write to their real stores; after an import ours goes on with their cookies."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import flask
import pytest
import redis

from clustersession.flask import ClusterSession
from clustersession.tools.demo.processes import free_port, wait_for
from tests.support.processes import find_program, require_programs

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
ROOT = Path(__file__).parents[2]
Importing = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require_programs("redis-server")
    port = free_port()
    directory = str(tmp_path_factory.mktemp("redis"))
    program = find_program("redis-server")
    assert program is not None
    server = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory],
        stdout=subprocess.DEVNULL,
    )
    url = f"redis://127.0.0.1:{port}/0"

    def answers() -> bool:
        with suppress(redis.ConnectionError), redis.Redis.from_url(url) as client:
            return bool(client.ping())
        return False

    try:
        wait_for(answers, "redis-server to answer")
        yield url
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def emptied(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name in [name for name in os.environ if name.startswith("CLUSTERSESSION_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CLUSTERSESSION_ROUTE", "a")
    monkeypatch.setenv("CLUSTERSESSION_MAP_BYTES", str(2**26))
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def bring(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "clustersession", "import", *arguments, "--json"],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=50,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def shop(**config: Any) -> flask.Flask:
    app = flask.Flask(__name__)
    app.config.update(SECRET_KEY="the key of the shop, at least 16 characters", **config)

    @app.get("/login")
    def log_in() -> dict[str, Any]:
        flask.session["user"] = "ada"
        flask.session["cart"] = ["tea", {"cakes": 2}]
        return {}

    @app.get("/look")
    def look() -> dict[str, Any]:
        return {"user": flask.session.get("user"), "cart": flask.session.get("cart")}

    @app.get("/logout")
    def log_out() -> dict[str, Any]:
        flask.session.clear()
        return {}

    return app


def old_cookie(client: Any, path: str = "/login") -> str:
    client.get(path)
    return str(client.get_cookie("session").value)


def new_shop(**config: Any) -> flask.Flask:
    app = shop(CLUSTERSESSION_LEGACY_COOKIE_NAME="session", **config)
    ClusterSession(app)
    with app.test_client() as client:
        client.get("/look")  # the node has to have run once
    return app


def check_flask(app: flask.Flask, cookie: str) -> None:
    """Logged in, cart kept, old cookie gone, replay refused once ours has ended."""
    browser = app.test_client()
    browser.set_cookie("session", cookie)
    response = browser.get("/look")
    assert response.json == {"user": "ada", "cart": ["tea", {"cakes": 2}]}
    assert browser.get_cookie("session") is None
    assert browser.get_cookie("CLUSTERSESSION") is not None
    assert browser.get("/look").json == {"user": "ada", "cart": ["tea", {"cakes": 2}]}
    browser.get("/logout")
    thief = app.test_client()
    thief.set_cookie("session", cookie)
    assert thief.get("/look").json == {"user": None, "cart": None}
    assert thief.get_cookie("CLUSTERSESSION") is None


@pytest.mark.parametrize("signed", [False, True])
def test_flask_session_in_redis(
    signed: bool, emptied: redis.Redis, redis_url: str, environment: dict[str, str]
) -> None:
    from flask_session import Session

    old = shop(SESSION_TYPE="redis", SESSION_REDIS=emptied, SESSION_USE_SIGNER=signed)
    Session(old)
    cookie = old_cookie(old.test_client())
    assert ("." in cookie) is signed
    emptied.set("session:pickled-by-an-older-version-01", b"\x80\x04c__main__\nX\n)R.")
    emptied.lpush("session:something-else-in-the-base", 1)
    app = new_shop(SESSION_USE_SIGNER=signed)
    report = bring(environment, "flask-session", redis_url)
    assert (report["read"], report["imported"]) == (3, 1)
    assert sum(report["refused"].values()) == 2
    check_flask(app, cookie)
    report = bring(environment, "flask-session", redis_url)
    assert (report["imported"], report["updated"], report["exchanged"]) == (0, 0, 1)
    thief = app.test_client()
    thief.set_cookie("session", cookie)
    assert thief.get("/look").json == {"user": None, "cart": None}
    app.session_interface.runtime(app).close()  # type: ignore[attr-defined]


def test_flask_session_in_files(tmp_path: Path, environment: dict[str, str]) -> None:
    from cachelib import FileSystemCache
    from flask_session import Session

    directory = str(tmp_path / "old")
    old = shop(SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache(directory))
    Session(old)
    cookie = old_cookie(old.test_client())
    app = new_shop()
    report = bring(environment, "flask-session", directory)
    assert (report["read"], report["imported"], report["refused"]) == (1, 1, {})
    check_flask(app, cookie)
    app.session_interface.runtime(app).close()  # type: ignore[attr-defined]


def test_a_logout_in_the_old_application_ends_the_record(
    emptied: redis.Redis, redis_url: str, environment: dict[str, str]
) -> None:
    from flask_session import Session

    old = shop(SESSION_TYPE="redis", SESSION_REDIS=emptied)
    Session(old)
    leaving, staying = old.test_client(), old.test_client()
    cookie, other = old_cookie(leaving), old_cookie(staying)
    app = new_shop()
    bring(environment, "flask-session", redis_url)
    leaving.get("/logout")
    assert bring(environment, "flask-session", redis_url)["gone"] == 1
    thief = app.test_client()
    thief.set_cookie("session", cookie)
    assert thief.get("/look").json == {"user": None, "cart": None}
    check_flask(app, other)
    app.session_interface.runtime(app).close()  # type: ignore[attr-defined]


def test_starsessions_in_redis(
    emptied: redis.Redis, redis_url: str, environment: dict[str, str]
) -> None:
    import redis.asyncio
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient
    from starsessions import SessionAutoloadMiddleware, SessionMiddleware
    from starsessions.stores.redis import RedisStore

    from clustersession.asgi import ClusterSessionMiddleware

    async def log_in(request: Request) -> JSONResponse:
        request.session.update(user="ada", cart=["tea"])
        return JSONResponse({})

    async def look(request: Request) -> JSONResponse:
        return JSONResponse(dict(request.session))

    routes = [Route("/login", log_in), Route("/look", look)]
    connection = redis.asyncio.Redis.from_url(redis_url)
    store = RedisStore(connection=connection)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await connection.aclose()

    old = Starlette(routes=routes, lifespan=lifespan, middleware=[
        Middleware(SessionMiddleware, store=store, cookie_name="old", lifetime=3600,
                   cookie_https_only=False),
        Middleware(SessionAutoloadMiddleware),
    ])
    with TestClient(old) as client:
        client.get("/login")
        cookie = client.cookies["old"]
    ours = Starlette(routes=routes, middleware=[
        Middleware(ClusterSessionMiddleware, legacy_cookie_name="old"),
    ])
    with TestClient(ours) as browser:
        browser.get("/look")
        assert bring(environment, "starsessions", redis_url)["imported"] == 1
        browser.cookies.set("old", cookie)
        response = browser.get("/look")
        assert response.json() == {"user": "ada", "cart": ["tea"]}
        assert any(
            line.startswith("old=; Max-Age=0") for line in response.headers.get_list("set-cookie")
        )
        assert "CLUSTERSESSION" in browser.cookies
        assert bring(environment, "starsessions", redis_url)["exchanged"] == 1


@pytest.mark.parametrize(("engine", "source"), [
    ("django.contrib.sessions.backends.db", "database"),
    ("django.contrib.sessions.backends.cached_db", "database"),
    ("django.contrib.sessions.backends.file", "files"),
    ("django.contrib.sessions.backends.cache", "redis"),
])
def test_django(
    engine: str, source: str, emptied: redis.Redis, redis_url: str, tmp_path: Path,
    environment: dict[str, str],
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    environment |= {
        "SHOP_DATABASE": str(tmp_path / "shop.sqlite3"), "SHOP_REDIS": redis_url,
        "SHOP_FILES": str(files), "SHOP_ENGINE": engine,
    }

    def run(engine: str, *arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "tests.tools.migration.django_shop", *arguments], cwd=ROOT,
            env={**environment, "SHOP_ENGINE": engine}, capture_output=True, text=True, timeout=50,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    ours = "clustersession.django"
    cookie = run(engine, "login")
    stranger = run(ours, "look", "a-cookie-of-nobody-in-particular")
    assert stranger == {"user": "", "cart": None, "cookies": {}}
    environment["DJANGO_SETTINGS_MODULE"] = "tests.tools.migration.django_shop"
    place = {"files": str(files), "redis": redis_url}.get(source, source)
    settings = tmp_path / "old_settings.py"
    settings.write_text(
        "from tests.tools.migration.django_shop import settings as _s\n"
        "for _n in dir(_s):\n"
        "    if _n.isupper(): globals()[_n] = getattr(_s, _n)\n"
    )
    environment["DJANGO_SETTINGS_MODULE"] = "old_settings"
    environment["PYTHONPATH"] = f"{ROOT}:{tmp_path}"
    report = bring(environment, "django", place)
    assert (report["read"], report["imported"], report["refused"]) == (1, 1, {})
    seen = run(ours, "look", cookie)
    assert (seen["user"], seen["cart"]) == ("ada", ["tea", {"cakes": 2}])
    assert seen["cookies"]["sessionid"] == ""
    assert seen["cookies"]["shop_new"].endswith(".a")
    assert bring(environment, "django", place)["exchanged"] == 1


