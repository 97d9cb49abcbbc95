"""Django inside a middleware of ours: its session is the one that is there already."""

import ast
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.contrib.auth import login, logout
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from werkzeug.test import Client

from clustersession import asgi, wsgi
from clustersession.django import SessionStore
from tests.adapters import django_project
from tests.adapters.django.views import User
from tests.adapters.django_project import OTHERS, OURS

NAME = "CLUSTERSESSION"


@pytest.fixture(autouse=True)
def _same_cookie(_closed: None) -> Iterator[None]:
    with override_settings(MIDDLEWARE=[OURS, *OTHERS], SESSION_COOKIE_NAME=NAME):
        yield


class Around:
    """Django below ``/``, and beside it a page of the middleware around it."""

    def __init__(self, **options: Any) -> None:
        handler = WSGIHandler()

        def app(environ: Any, start_response: Any) -> Any:
            if environ["PATH_INFO"] != "/own":
                return handler(environ, start_response)
            start_response("200 OK", [])
            return [repr(dict(environ["clustersession.session"])).encode()]

        self.middleware = wsgi.ClusterSessionMiddleware(app, **options)
        self.client = Client(self.middleware)

    def get(self, view: Any) -> Any:
        django_project.view = view
        return self.client.get("/")

    def own(self) -> Any:
        return ast.literal_eval(self.client.get("/own").text)

    @property
    def cookie(self) -> str:
        found = self.client.get_cookie(NAME)
        return "" if found is None else found.value


@pytest.fixture
def around() -> Iterator[Around]:
    made = Around()
    yield made
    made.middleware.runtime.close()


def setting(**values: Any) -> Any:
    return lambda request: request.session.update(values)


def test_one_session_and_one_cookie(around: Around) -> None:
    response = around.get(setting(cart=[1]))
    assert len(response.headers.getlist("set-cookie")) == 1
    assert around.own() == {"cart": [1]}
    response = around.get(lambda request: request.session["cart"].append(2))
    assert response.headers.getlist("set-cookie") == []
    assert around.own() == {"cart": [1, 2]}


def test_a_login_and_a_logout_are_the_same_for_both(around: Around, user: User) -> None:
    around.get(setting(before=1))
    before = around.cookie
    response = around.get(lambda request: login(request, user))
    names = [line.partition("=")[0] for line in response.headers.getlist("set-cookie")]
    assert names.count(NAME) == 1
    assert around.cookie != before
    assert around.own()["before"] == 1
    sessions = around.middleware.runtime.sessions()
    assert len(sessions.sessions_of(str(user.pk))) == 1
    around.get(logout)
    assert around.own() == {}
    assert around.cookie == ""
    assert sessions.sessions_of(str(user.pk)) == []


def test_end_all_reaches_it(around: Around, user: User) -> None:
    around.get(lambda request: login(request, user))
    assert around.middleware.runtime.sessions().end_all(str(user.pk)) == 1
    found: list[bool] = []
    around.get(lambda request: found.append(request.user.is_authenticated))
    assert found == [False]


def test_clear_and_create_keep_djangos_meaning(around: Around) -> None:
    around.get(setting(a=1))
    first = around.cookie
    around.get(lambda request: request.session.clear())
    assert around.own() == {}
    assert around.cookie == first
    around.get(setting(b=2))

    def create(request: HttpRequest) -> None:
        request.session.create()
        request.session["c"] = 3

    around.get(create)
    assert around.cookie != first
    assert around.own() == {"b": 2, "c": 3}
    # The old one goes on.
    around.client.set_cookie(NAME, first)
    assert around.own() == {"b": 2}


def test_what_is_set_after_a_flush_is_another_session(around: Around) -> None:
    around.get(setting(a=1))
    first = around.cookie

    def flush(request: HttpRequest) -> None:
        request.session.flush()
        request.session["b"] = 2

    around.get(flush)
    assert around.own() == {"b": 2}
    assert around.cookie not in ("", first)


def test_a_login_wins_over_a_logout_meanwhile(around: Around, user: User) -> None:
    around.get(setting(a=1))
    held = around.cookie

    def late(request: HttpRequest) -> None:
        request.session["late"] = 1
        doomed = SessionStore(held)
        doomed.delete()
        login(request, user)

    around.get(late)
    assert around.cookie not in ("", held)
    found: list[bool] = []
    around.get(lambda request: found.append(request.user.is_authenticated))
    assert found == [True]


def test_an_error_stores_nothing(around: Around) -> None:
    def fail(request: HttpRequest) -> HttpResponse:
        request.session["half"] = 1
        return HttpResponse(status=500)

    response = around.get(fail)
    assert response.headers.getlist("set-cookie") == []
    assert around.own() == {}


async def test_under_asgi(user: User) -> None:
    app = asgi.ClusterSessionMiddleware(ASGIHandler())
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]

    async def logging_in(request: HttpRequest) -> None:
        request.session["cart"] = [1]
        await request.session.acycle_key()

    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        django_project.view = logging_in
        response = await client.get("/a")
        assert len(response.headers.get_list("set-cookie")) == 1
        found: list[Any] = []
        django_project.view = lambda request: found.append(dict(request.session.items()))
        response = await client.get("/a")
        assert response.headers.get_list("set-cookie") == []
        assert found == [{"cart": [1]}]
        state = app.runtime.manager().open([client.cookies[NAME]]).state
        assert state is not None
    app.runtime.close()


def test_two_cookie_names_are_two_sessions() -> None:
    with override_settings(SESSION_COOKIE_NAME="sessionid"):
        made = Around()
        response = made.get(setting(a=1))
        assert len(response.headers.getlist("set-cookie")) == 1
        assert made.own() == {}
        made.middleware.runtime.close()


def test_different_settings_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    made = Around(cookie_secure=True)
    assert made.get(setting(a=1)).status_code == 500
    assert "cookie_secure is True outside and False inside" in caplog.text
    made.middleware.runtime.close()
