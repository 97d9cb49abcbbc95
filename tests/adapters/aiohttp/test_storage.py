"""Applications that use aiohttp_session, and aiohttp_security over it, with the storage."""

import asyncio
from typing import Any

import aiohttp_session
import pytest
from aiohttp import web
from aiohttp_security import (
    AbstractAuthorizationPolicy,
    SessionIdentityPolicy,
    authorized_userid,
    forget,
    remember,
)
from aiohttp_security import setup as setup_security

from clustersession.aiohttp import session_of
from clustersession.aiohttp.storage import ClusterSessionStorage
from clustersession.core.errors import ConfigurationError
from tests.adapters.aiohttp.client import Client, browsing

pytestmark = pytest.mark.filterwarnings(
    # aiohttp_session's own keys are older than this warning.
    "ignore:It is recommended to use web.RequestKey"
)


async def read(request: web.Request) -> web.Response:
    return web.json_response(dict(await aiohttp_session.get_session(request)))


async def store(request: web.Request) -> web.Response:
    session = await aiohttp_session.get_session(request)
    session["user"], session["cart"] = "ann", [1]
    return web.Response()


def make_app(*handlers: Any, **options: Any) -> web.Application:
    app = web.Application()
    aiohttp_session.setup(app, ClusterSessionStorage(app, **options))
    for handler in (read, store, *handlers):
        app.router.add_get(f"/{handler.__name__}", handler)
    return app


async def stored(client: Client) -> Any:
    async with client.get("/read") as response:
        return await response.json()


def cookie_of(client: Client) -> str:
    (cookie,) = [it.value for it in client.session.cookie_jar if it.key == "CLUSTERSESSION"]
    return cookie


async def test_get_session_gives_the_session_of_the_cluster() -> None:
    async def change(request: web.Request) -> web.Response:
        session = await aiohttp_session.get_session(request)
        assert not session.new
        assert not session.empty
        assert session.identity == session_of(request).sid
        assert session.created == int(session_of(request).created_at.timestamp())
        session["cart"].append(2)  # without session.changed()
        return web.Response()

    async with browsing(make_app(change)) as client:
        async with client.get("/read") as response:
            assert "Set-Cookie" not in response.headers
        async with client.get("/store") as response:
            assert response.headers["Set-Cookie"].startswith("CLUSTERSESSION=")
        async with client.get("/change") as response:
            assert response.status == 200
            assert response.headers["Vary"] == "Cookie"
        assert await stored(client) == {"user": "ann", "cart": [1, 2]}


async def test_requests_at_the_same_time_lose_no_update() -> None:
    began, may_end = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        session = await aiohttp_session.get_session(request)
        session["slow"] = session["user"]
        began.set()
        await may_end.wait()
        return web.Response()

    async with browsing(make_app(slow)) as client:
        await client.get("/store")
        running = asyncio.create_task(client.get("/slow"))
        await began.wait()
        await client.get("/store")
        may_end.set()
        await running
        assert await stored(client) == {"user": "ann", "cart": [1], "slow": "ann"}


@pytest.mark.parametrize("identity", [None, "an id of the application"])
async def test_a_new_session_has_an_id_of_its_own_and_ends_the_old_one(
    identity: str | None,
) -> None:
    async def log_in(request: web.Request) -> web.Response:
        session = await aiohttp_session.new_session(request)
        assert session.new
        assert session.empty
        if identity:
            session.set_new_identity(identity)
        session["user"] = "bob"
        raise web.HTTPFound("/read")

    async with browsing(make_app(log_in)) as client:
        await client.get("/store")
        before = cookie_of(client)
        async with client.get("/log_in") as response:
            assert await response.json() == {"user": "bob"}
        assert cookie_of(client) != before
        client.session.cookie_jar.clear()
        headers = {"Cookie": f"CLUSTERSESSION={before}"}
        assert await (await client.get("/read", headers=headers)).json() == {}


async def test_only_a_new_session_takes_an_identity() -> None:
    async def change(request: web.Request) -> web.Response:
        session = await aiohttp_session.get_session(request)
        with pytest.raises(RuntimeError, match="not new"):
            session.set_new_identity("another")
        return web.Response()

    async with browsing(make_app(change)) as client:
        await client.get("/store")
        assert (await client.get("/change")).status == 200


@pytest.mark.parametrize("how", ["invalidate", "clear"])
async def test_a_logout_ends_the_session(how: str) -> None:
    async def log_out(request: web.Request) -> web.Response:
        getattr(await aiohttp_session.get_session(request), how)()
        return web.Response()

    async with browsing(make_app(log_out)) as client:
        await client.get("/store")
        headers = {"Cookie": f"CLUSTERSESSION={cookie_of(client)}"}
        async with client.get("/log_out") as response:
            assert "Max-Age=0" in response.headers["Set-Cookie"]
        assert await (await client.get("/read", headers=headers)).json() == {}


async def test_a_websocket_and_a_stream_are_saved_which_aiohttp_session_never_does() -> None:
    async def talk(request: web.Request) -> web.WebSocketResponse:
        session = await aiohttp_session.get_session(request)
        session["greeted"] = True
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        return socket

    async with browsing(make_app(talk)) as client:
        async with client.ws_connect("/talk"):
            assert await stored(client) == {"greeted": True}


async def test_names_of_aiohttp_session_are_understood() -> None:
    async def age(request: web.Request) -> web.Response:
        session = await aiohttp_session.get_session(request)
        before = session.max_age
        session.max_age = 60
        session.changed()
        session["a"] = 1
        return web.json_response([before, session.max_age, session_of(request).idle_timeout])

    app = make_app(
        age, cookie_name="MINE", max_age=600, path="/", secure=None, httponly=True,
        samesite="Strict", encoder=None,
    )
    async with browsing(app) as client:
        async with client.get("/age") as response:
            assert await response.json() == [600, 60, 60]
            header = response.headers["Set-Cookie"]
        assert header.startswith("MINE=")
        assert header.endswith("; Max-Age=600; Path=/; HttpOnly; SameSite=Strict")


def test_what_means_something_else_here_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"encoder: .*register"):
        ClusterSessionStorage(web.Application(), encoder=str)
    with pytest.raises(ConfigurationError, match="did you mean route"):
        ClusterSessionStorage(web.Application(), rout="a")


async def test_a_new_session_is_one_of_a_request() -> None:
    with pytest.raises(RuntimeError, match="while a request"):
        await ClusterSessionStorage(web.Application()).new_session()


class Everybody(AbstractAuthorizationPolicy):
    async def permits(self, identity: Any, permission: Any, context: Any = None) -> bool:
        return True

    async def authorized_userid(self, identity: Any) -> Any:
        return identity


async def test_aiohttp_security_remembers_the_user_in_it() -> None:
    async def log_in(request: web.Request) -> web.Response:
        response = web.HTTPFound("/who")
        await remember(request, response, "ann")
        raise response

    async def log_out(request: web.Request) -> web.Response:
        response = web.HTTPFound("/who")
        await forget(request, response)
        raise response

    async def who(request: web.Request) -> web.Response:
        return web.json_response(await authorized_userid(request))

    app = make_app(log_in, log_out, who)
    setup_security(app, SessionIdentityPolicy(), Everybody())
    async with browsing(app) as client:
        assert await (await client.get("/log_in")).json() == "ann"
        assert await (await client.get("/who")).json() == "ann"
        assert await (await client.get("/log_out")).json() is None
