"""Logins and logouts of Litestar's SessionAuth give a session its id and its user."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from litestar import Litestar, Request, Router, get, post
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.security.session_auth import SessionAuth
from litestar.testing import TestClient
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient as StarletteClient

from clustersession.asgi import ClusterSessionMiddleware
from clustersession.litestar import ClusterSessionPlugin, session_of


@dataclass
class User:
    id: int


@dataclass
class Unnamed:
    nick: str


USERS: dict[str, Any] = {
    "ann": "ann", "bob": {"id": "bob"}, "7": User(7), "nick": Unnamed("nick"), "yes": True,
}  # fmt: skip


async def user_of(session: dict[str, Any], _: Any) -> Any:
    return USERS.get(session.get("user", ""))


def user_of_without_waiting(session: dict[str, Any], _: Any) -> Any:
    return USERS[session["user"]]


@post("/replace/{name:str}", exclude_from_auth=True, status_code=200)
async def replace(request: Request[Any, Any, Any]) -> None:
    name = request.path_params["name"]
    request.set_session({"user": name, "cart": 1})


@post("/assign/{name:str}", exclude_from_auth=True, status_code=200)
async def assign(request: Request[Any, Any, Any]) -> None:
    name = request.path_params["name"]
    request.session["user"] = name


@post("/save/{name:str}", exclude_from_auth=True, status_code=200)
async def save(request: Request[Any, Any, Any]) -> None:
    name = request.path_params["name"]
    request.session["user"] = name
    await session_of(request).asave()
    request.session["saved"] = True


@post("/save-only/{name:str}", exclude_from_auth=True, status_code=200)
async def save_only(request: Request[Any, Any, Any]) -> None:
    request.session["user"] = request.path_params["name"]
    await session_of(request).asave()


@post("/named/{name:str}", exclude_from_auth=True, status_code=200)
async def name_by_mail(request: Request[Any, Any, Any]) -> None:
    name = request.path_params["name"]
    request.session["user"] = name
    session_of(request).principal = f"{name}@example.org"


@post("/by-name/{name:str}", exclude_from_auth=True, status_code=200)
async def name_by_name(request: Request[Any, Any, Any]) -> None:
    name = request.path_params["name"]
    session_of(request).principal = name
    request.session["user"] = name


@post("/cart", exclude_from_auth=True, status_code=200)
async def cart(request: Request[Any, Any, Any]) -> None:
    request.session["cart"] = request.session.get("cart", 0) + 1


@post("/leave", status_code=200)
async def leave(request: Request[Any, Any, Any]) -> None:
    request.session.pop("user")


@get("/about", exclude_from_auth=True)
async def about(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return {**request.session, "principal": session_of(request).principal}


OPEN: list[Any] = [replace, assign, save, save_only, name_by_mail, name_by_name, cart, about]
GUARDED: list[Any] = [leave]
WAYS = ("replace", "assign", "save", "save-only")
LOGINS = [
    *((way, name, name) for way in WAYS for name in ("ann", "bob", "7")),
    *((way, name, None) for way in ("replace", "assign") for name in ("nick", "yes")),
]


def make_app(
    retrieve: Callable[..., Any] = user_of, *, apart: bool = False, **options: Any
) -> Litestar:
    auth = SessionAuth[Any, Any](
        retrieve_user_handler=retrieve, session_backend_config=ServerSideSessionConfig()
    )
    inside = GUARDED if apart else [*GUARDED, *OPEN]
    router = Router("/", route_handlers=inside, middleware=[auth.middleware])
    handlers: list[Any] = [router, *(OPEN if apart else [])]
    return Litestar(handlers, plugins=[ClusterSessionPlugin(**options)], logging_config=None)


def id_of(client: TestClient[Any]) -> str:
    return client.cookies["CLUSTERSESSION"]


def seen_by_holder_of(cookie: str, client: TestClient[Any]) -> Any:
    own, client.cookies = client.cookies, {"CLUSTERSESSION": cookie}  # type: ignore[assignment]
    found = client.get("/about").json()
    client.cookies = own
    return found


@pytest.mark.parametrize("apart", [False, True], ids=["inside", "outside"])
@pytest.mark.parametrize("retrieve", [user_of, user_of_without_waiting])
@pytest.mark.parametrize(("way", "name", "principal"), LOGINS)
def test_a_login_takes_a_new_id_and_names_the_user(
    way: str, name: str, principal: str | None, retrieve: Any, apart: bool
) -> None:
    with TestClient(make_app(retrieve, apart=apart)) as client:
        client.post("/cart")
        planted = id_of(client)
        client.post("/cart")
        assert id_of(client) == planted, "nobody has logged in"
        client.post(f"/{way}/{name}")
        users = id_of(client)
        assert users != planted
        about = client.get("/about").json()
        assert (about["user"], about["principal"]) == (name, principal)
        assert "user" not in seen_by_holder_of(planted, client)
        client.post("/cart")
        assert id_of(client) == users, "a change is no login"


def test_a_login_that_the_application_names_itself_takes_a_new_id() -> None:
    lives = {"absolute_timeout_s": 3600, "anonymous_absolute_timeout_s": 3600}
    with TestClient(make_app(**lives)) as client:
        client.post("/cart")
        planted = id_of(client)
        client.post("/by-name/ann")
        users = id_of(client)
        assert users != planted
        assert client.get("/about").json()["principal"] == "ann"
        client.post("/by-name/ann")
        assert id_of(client) == users


@pytest.mark.parametrize("way", WAYS)
def test_a_login_inside_of_another_application_is_followed(way: str) -> None:
    outer = Starlette(routes=[Mount("/", make_app())])
    outer.add_middleware(ClusterSessionMiddleware)
    with StarletteClient(outer) as client:
        client.post("/cart")
        planted = client.cookies["CLUSTERSESSION"]
        client.post(f"/{way}/ann")
        assert client.cookies["CLUSTERSESSION"] != planted
        assert client.get("/about").json()["principal"] == "ann"


@pytest.mark.parametrize("way", ["replace", "assign"])
def test_a_login_into_the_session_of_another_user_takes_a_new_id(way: str) -> None:
    with TestClient(make_app()) as client:
        client.post("/assign/bob")
        planted = id_of(client)
        client.post(f"/{way}/ann")
        assert id_of(client) != planted
        assert client.get("/about").json()["principal"] == "ann"
        assert "user" not in seen_by_holder_of(planted, client)


def test_a_session_belongs_to_nobody_after_its_user_has_gone() -> None:
    with TestClient(make_app()) as client:
        client.post("/cart")
        client.post("/assign/ann")
        users = id_of(client)
        client.post("/leave")
        assert id_of(client) != users
        assert client.get("/about").json() == {"cart": 1, "principal": None}
        assert "user" not in seen_by_holder_of(users, client)


def test_a_principal_of_the_application_stays() -> None:
    with TestClient(make_app()) as client:
        client.post("/named/ann")
        users = id_of(client)
        client.post("/cart")
        assert id_of(client) == users
        assert client.get("/about").json()["principal"] == "ann@example.org"


def test_what_may_be_a_login_takes_a_new_id() -> None:
    async def fails(session: dict[str, Any], _: Any) -> Any:
        raise ConnectionError("the database")

    with TestClient(make_app(fails)) as client:
        client.post("/cart")
        planted = id_of(client)
        client.post("/assign/ann")
        assert id_of(client) != planted


def test_logins_are_not_followed_where_the_application_says_so() -> None:
    with TestClient(make_app(follow_logins=False)) as client:
        client.post("/cart")
        before = id_of(client)
        client.post("/assign/ann")
        assert id_of(client) == before
        assert client.get("/about").json()["principal"] is None
