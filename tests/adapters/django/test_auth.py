"""Django's own users of the session: logins, messages, CSRF, its test client."""

import json
from dataclasses import replace
from typing import Any

import django
import pytest
from django.contrib import auth, messages
from django.contrib.auth import SESSION_KEY as USER_ID
from django.contrib.auth import (
    get_user_model,
    login,
    logout,
    update_session_auth_hash,
    user_logged_in,
)
from django.http import HttpRequest, JsonResponse
from django.middleware.csrf import get_token
from django.test import AsyncClient, Client, override_settings
from django.utils.safestring import mark_safe

from clustersession.core.creation_rate import BURST_S
from clustersession.core.ids import KEY_LENGTH
from clustersession.django import SessionStore, sessions
from clustersession.django.configuration import manager
from tests.adapters import django_project
from tests.adapters.django.views import User, aget, cookie, data, get, setting, with_cookie
from tests.adapters.django_project import OTHERS

# Django 4.2 has neither.
alogin = getattr(auth, "alogin", None)
aupdate_session_auth_hash = getattr(auth, "aupdate_session_auth_hash", None)


def test_a_test_that_logs_in_by_hand_goes_on_with_the_cookie_it_has(
    middleware: str, user: User
) -> None:
    client = Client()
    session = client.session
    key = session.session_key
    session[USER_ID] = str(user.pk)
    session[auth.BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[auth.HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    assert session.session_key == key
    names: list[str] = []
    get(client, lambda request: names.append(request.user.get_username()))
    assert names == ["ann"]


def test_login_and_logout(middleware: str, user: User) -> None:
    client = Client()
    get(client, setting(cart=[1]))
    anonymous = cookie(client)
    seen: dict[str, Any] = {}

    def log_in(request: HttpRequest) -> None:
        login(request, user)
        seen.update(key=request.session.session_key, principal=request.session.principal)

    get(client, log_in)
    assert data(with_cookie(anonymous)) == {}
    assert cookie(client).startswith(seen["key"])
    assert cookie(client) != anonymous
    assert data(client)["cart"] == [1]
    get(client, lambda request: seen.update(principal=request.session.principal))
    assert seen["principal"] == str(user.pk)
    # A changed password ends the user's other sessions, not this one.
    other = Client()
    get(other, lambda request: login(request, user))

    def change_password(request: HttpRequest) -> None:
        user.set_password("another")
        user.save()
        request.user = user
        update_session_auth_hash(request, user)

    get(client, change_password)
    names: list[str] = []
    for one in (client, other):
        get(one, lambda request: names.append(request.user.username))
    assert names == ["ann", ""]
    held = cookie(client)
    assert get(client, logout).cookies["sessionid"]["max-age"] == 0
    assert data(with_cookie(held)) == {}


def test_a_user_ends_the_other_sessions(middleware: str, user: User) -> None:
    clients = [Client() for _ in range(3)]
    for client in clients:
        get(client, lambda request: login(request, user))
    found: list[Any] = []

    def end_others(request: HttpRequest) -> None:
        session = request.session
        found.extend(session.cluster.sessions_of(user.pk, current=session.clustered))
        found.append(session.cluster.end_all(user.pk, except_current=session.clustered))

    get(clients[0], end_others)
    assert [view.current for view in found[:-1]].count(True) == 1
    assert found[-1] == 2
    names: list[str] = []
    for client in clients:
        get(client, lambda request: names.append(request.user.username))
    assert names == ["ann", "", ""]


def test_the_test_client_logs_in(middleware: str, user: User) -> None:
    client = Client()
    client.force_login(user)
    assert data(client)["_auth_user_id"] == str(user.pk)
    session = client.session
    session["added"] = 1
    session.save()
    assert data(client)["added"] == 1
    client.logout()
    assert data(client) == {}


def test_messages_and_csrf_in_the_session(middleware: str) -> None:
    storage = "django.contrib.messages.storage.session.SessionStorage"
    with override_settings(CSRF_USE_SESSIONS=True, MESSAGE_STORAGE=storage):
        client = Client(enforce_csrf_checks=True)
        tokens: list[str] = []

        def view(request: HttpRequest) -> None:
            messages.info(request, mark_safe("<b>bold</b>"))
            tokens.append(get_token(request))

        get(client, view)
        found: list[Any] = []
        get(client, lambda request: found.extend(messages.get_messages(request)))
        assert [message.message for message in found] == ["<b>bold</b>"]
        assert hasattr(found[0].message, "__html__")
        django_project.view = lambda request: None
        assert client.post("/").status_code == 403
        assert client.post("/", headers={"X-CSRFToken": tokens[0]}).status_code == 200


@pytest.mark.skipif(django.VERSION < (5, 1), reason="sessions have no async methods")
async def test_async_views(middleware: str, user: User) -> None:
    client = AsyncClient()

    async def log_in(request: HttpRequest) -> None:
        await request.session.aset("cart", [1])
        await alogin(request, user)

    response = await aget(client, log_in)
    held = response.cookies["sessionid"].value
    assert held.endswith(".a")

    async def change(request: HttpRequest) -> JsonResponse:
        session = request.session
        (await session.aget("cart")).append(2)
        assert await session.ahas_key("cart")
        assert not session.is_empty()
        assert await session.aexists(session.session_key)
        request.user = await request.auser()
        await aupdate_session_auth_hash(request, request.user)
        return JsonResponse({"cart": await session.aget("cart")})

    response = await aget(client, change)
    assert json.loads(response.content) == {"cart": [1, 2]}
    moved = response.cookies["sessionid"].value
    assert moved != held
    assert (await SessionStore(held).aload()) == {}
    assert (await SessionStore(moved).aload())["cart"] == [1, 2]

    async def log_out(request: HttpRequest) -> None:
        await request.session.aflush()

    response = await aget(client, log_out)
    assert response.cookies["sessionid"]["max-age"] == 0
    assert not await SessionStore().aexists(moved)


def deadline_s(client: Client) -> float:
    """How long after its creation the client's session ends at the latest."""
    state = manager().replica.get(cookie(client)[:KEY_LENGTH])
    assert state is not None
    return (state.deadline_ms - state.created_ms) / 1000


def test_a_login_lives_longer_than_a_session_of_nobody(middleware: str, user: User) -> None:
    settings = manager().settings
    client, straight = Client(), Client()
    get(client, setting(cart=[1]))
    assert deadline_s(client) == settings.effective_anonymous_absolute_timeout_s
    assert deadline_s(client) < settings.effective_absolute_timeout_s
    for each in (client, straight):
        get(each, lambda request: login(request, user))
        assert deadline_s(each) == settings.effective_absolute_timeout_s


def test_a_login_passes_when_too_many_sessions_begin(
    middleware: str, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager().context, "settings", replace(
        manager().settings, new_sessions_per_second_max=1
    ))
    for _ in range(BURST_S + 1):
        client = Client()
        get(client, setting(cart=[1]))
    assert not cookie(client)
    get(client, lambda request: login(request, user))
    assert data(client)[USER_ID] == str(user.pk)


def principals_of(user: User) -> list[str | None]:
    """Whose the sessions are that a user's name finds."""
    return [view.principal for view in sessions().sessions_of(user.pk)]


def test_the_session_belongs_to_the_user_from_the_login_on(middleware: str, user: User) -> None:
    client, seen = Client(), []

    def log_in(request: HttpRequest) -> None:
        user_logged_in.connect(receive)
        login(request, user)
        user_logged_in.disconnect(receive)

    def receive(request: HttpRequest, **_: Any) -> None:
        seen.append(request.session.principal)

    get(client, log_in)
    assert seen == [str(user.pk)]
    assert principals_of(user) == [str(user.pk)]
    get(client, lambda request: update_session_auth_hash(request, user))
    assert principals_of(user) == [str(user.pk)]
    get(client, logout)
    assert principals_of(user) == []
    get(client, setting(cart=[1]))
    get(client, lambda request: seen.append(request.session.principal))
    assert seen[1:] == [None]


def test_the_session_belongs_to_a_user_that_another_login_follows(
    middleware: str, user: User
) -> None:
    other = get_user_model().objects.create_user("bob")
    client = Client()
    for one in (user, other):
        get(client, lambda request, one=one: login(request, one))
    assert principals_of(user) == []
    assert principals_of(other) == [str(other.pk)]


def test_the_session_belongs_to_the_user_of_a_test_client(middleware: str, user: User) -> None:
    Client().force_login(user)
    assert principals_of(user) == [str(user.pk)]


@pytest.mark.skipif(django.VERSION < (5, 1), reason="sessions have no async methods")
async def test_the_session_belongs_to_the_user_of_an_async_login(
    middleware: str, user: User
) -> None:
    client = AsyncClient()
    await client.aforce_login(user)
    assert principals_of(user) == [str(user.pk)]
    client = AsyncClient()
    await aget(client, lambda request: alogin(request, user))
    assert principals_of(user) == [str(user.pk)] * 2
    await aget(client, auth.alogout)
    assert principals_of(user) == [str(user.pk)]


def test_the_session_belongs_to_the_user_whom_the_web_server_names(
    middleware: str, user: User
) -> None:
    remote = "django.contrib.auth.{}".format
    with override_settings(
        MIDDLEWARE=[middleware, *OTHERS, remote("middleware.RemoteUserMiddleware")],
        AUTHENTICATION_BACKENDS=[remote("backends.RemoteUserBackend")],
    ):
        client = Client()
        get(client, lambda request: None, REMOTE_USER="ann")
        assert principals_of(user) == [str(user.pk)]
        held = cookie(client)
        get(client, lambda request: None, REMOTE_USER="ann")
        assert cookie(client) == held
        get(client, lambda request: None)
        assert principals_of(user) == []


def test_logins_need_not_be_followed(middleware: str, user: User) -> None:
    with override_settings(CLUSTERSESSION={"FOLLOW_LOGINS": False}):
        client = Client()
        get(client, lambda request: login(request, user))
        assert principals_of(user) == []

        def say(request: HttpRequest) -> None:
            request.session.principal = "ann@example.com"

        get(client, say)
        get(client, setting(cart=[1]))
        assert [view.principal for view in sessions().sessions_of("ann@example.com")] == [
            "ann@example.com"
        ]
