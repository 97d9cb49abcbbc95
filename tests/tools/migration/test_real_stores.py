"""Old applications write to their real stores; after an import ours goes on with their cookies."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from secrets import token_urlsafe
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
ROOT = Path(__file__).parents[3]
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


@pytest.fixture
def in_the_same(
    emptied: redis.Redis, redis_url: str, environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dict[str, str]]:
    """The environment in which ours keeps its sessions in the server of the old application.

    At the end it is seen that it did, and that each left the other's keys alone.
    """
    stored = {
        "DISTRIBUTABLE": "true", "BIND": "127.0.0.1", "STORE": redis_url, "AGENT_LINGER_S": "0.5",
        "SECRET": token_urlsafe(32), "NEAR_CACHE_BYTES_MAX": str(2**25),
    }
    for name, value in stored.items():
        monkeypatch.setenv(f"CLUSTERSESSION_{name}", value)
        environment[f"CLUSTERSESSION_{name}"] = value
    yield environment
    wait_for(lambda: list(emptied.scan_iter("clustersession:*:s:*")), "ours to be there")
    assert any(not name.startswith(b"clustersession:") for name in emptied.scan_iter())


def kept(client: redis.Redis) -> dict[bytes, bytes | None]:
    """What the old application has in its server."""
    names = [name for name in client.scan_iter() if not name.startswith(b"clustersession:")]
    return {name: client.dump(name) for name in sorted(names)}  # type: ignore[misc]


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


def test_flask_session_and_ours_side_by_side_in_one_redis(
    emptied: redis.Redis, redis_url: str, in_the_same: dict[str, str]
) -> None:
    from flask_session import Session

    old = shop(SESSION_TYPE="redis", SESSION_REDIS=emptied)
    Session(old)
    staying, moving = old.test_client(), old.test_client()
    old_cookie(staying)
    cookie = old_cookie(moving)
    app = new_shop()
    before = kept(emptied)
    assert bring(in_the_same, "flask-session", redis_url)["imported"] == 2
    check_flask(app, cookie)
    assert kept(emptied) == before
    # Who is still on the old hosts is at home there, and those who come later are taken along.
    assert staying.get("/look").json == {"user": "ada", "cart": ["tea", {"cakes": 2}]}
    late = old_cookie(old.test_client())
    report = bring(in_the_same, "flask-session", redis_url)
    assert (report["read"], report["imported"], report["exchanged"]) == (3, 1, 1)
    check_flask(app, late)
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


@pytest.mark.parametrize("place", ["environment", "in_the_same"])
def test_starsessions_in_redis(
    emptied: redis.Redis, redis_url: str, place: str, request: pytest.FixtureRequest
) -> None:
    environment: dict[str, str] = request.getfixturevalue(place)
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
    ours = Starlette(routes=routes, middleware=[
        Middleware(ClusterSessionMiddleware, legacy_cookie_name="old"),
    ])

    def logged_in(client: TestClient) -> str:
        client.cookies.clear()
        client.get("/login")
        return str(client.cookies["old"])

    def check_moved(client: TestClient, cookie: str) -> None:
        client.cookies.clear()
        client.cookies.set("old", cookie)
        response = client.get("/look")
        assert response.json() == {"user": "ada", "cart": ["tea"]}
        assert any(
            line.startswith("old=; Max-Age=0") for line in response.headers.get_list("set-cookie")
        )
        assert "CLUSTERSESSION" in client.cookies

    with TestClient(old) as staying, TestClient(ours) as moving:
        cookie = logged_in(staying)
        logged_in(staying)
        before = kept(emptied)
        moving.get("/look")
        assert bring(environment, "starsessions", redis_url)["imported"] == 2
        check_moved(moving, cookie)
        assert bring(environment, "starsessions", redis_url)["exchanged"] == 1
        assert kept(emptied) == before
        # Who is still on the old hosts is at home there, and those who come later are taken along.
        assert staying.get("/look").json() == {"user": "ada", "cart": ["tea"]}
        late = logged_in(staying)
        report = bring(environment, "starsessions", redis_url)
        assert (report["read"], report["imported"], report["exchanged"]) == (3, 1, 1)
        check_moved(moving, late)


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
    shops = DjangoShops(engine, source, redis_url, tmp_path, environment)
    cookie = shops.old("login")
    stranger = shops.ours("look", "a-cookie-of-nobody-in-particular")
    assert stranger == {"user": "", "cart": None, "cookies": {}}
    report = shops.bring()
    assert (report["read"], report["imported"], report["refused"]) == (1, 1, {})
    shops.check_moved(cookie)
    assert shops.bring()["exchanged"] == 1


def test_django_s_cache_and_ours_side_by_side_in_one_redis(
    emptied: redis.Redis, redis_url: str, tmp_path: Path, in_the_same: dict[str, str]
) -> None:
    engine = "django.contrib.sessions.backends.cache"
    shops = DjangoShops(engine, "redis", redis_url, tmp_path, in_the_same)
    cookie, staying = shops.old("login"), shops.old("login")
    shops.ours("look", "a-cookie-of-nobody-in-particular")  # the node has to have run once
    before = kept(emptied)
    assert shops.bring()["imported"] == 2
    shops.check_moved(cookie)
    assert kept(emptied) == before
    # Who is still on the old hosts is at home there, and those who come later are taken along.
    seen = shops.old("look", staying)
    assert (seen["user"], seen["cart"]) == ("ada", ["tea", {"cakes": 2}])
    late = shops.old("login")
    report = shops.bring()
    assert (report["read"], report["imported"], report["exchanged"]) == (3, 1, 1)
    shops.check_moved(late)


class DjangoShops:
    """A shop with an old engine, the same with ours, and the command that imports."""

    def __init__(
        self, engine: str, source: str, redis_url: str, tmp_path: Path, environment: dict[str, str]
    ) -> None:
        files = tmp_path / "files"
        files.mkdir()
        settings = tmp_path / "old_settings.py"
        settings.write_text(
            "from tests.tools.migration.django_shop import settings as _s\n"
            "for _n in dir(_s):\n"
            "    if _n.isupper(): globals()[_n] = getattr(_s, _n)\n"
        )
        self._environment = environment | {
            "SHOP_DATABASE": str(tmp_path / "shop.sqlite3"), "SHOP_REDIS": redis_url,
            "SHOP_FILES": str(files), "SHOP_ENGINE": engine,
            "DJANGO_SETTINGS_MODULE": "old_settings", "PYTHONPATH": f"{ROOT}:{tmp_path}",
        }
        self._place = {"files": str(files), "redis": redis_url}.get(source, source)

    def old(self, *arguments: str) -> Any:
        """What a request finds in the old shop."""
        return self._run({}, *arguments)

    def ours(self, *arguments: str) -> Any:
        """What a request finds in the new one."""
        return self._run({"SHOP_ENGINE": "clustersession.django"}, *arguments)

    def bring(self) -> dict[str, Any]:
        """What an import reports."""
        return bring(self._environment, "django", self._place)

    def check_moved(self, cookie: str) -> None:
        """Whoever has a cookie of the old shop is logged in with ours, and has no other then."""
        seen = self.ours("look", cookie)
        assert (seen["user"], seen["cart"]) == ("ada", ["tea", {"cakes": 2}])
        assert seen["cookies"]["sessionid"] == ""
        assert seen["cookies"]["shop_new"].endswith(".a")

    def _run(self, more: dict[str, str], *arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "tests.tools.migration.django_shop", *arguments], cwd=ROOT,
            env=self._environment | more, capture_output=True, text=True, timeout=50,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
