"""Requests under Django's own middleware, with the engine as the only change, and under ours."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings
from django.contrib.auth import get_user_model, login, logout
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.utils.module_loading import import_string

import clustersession.django
from clustersession.core.errors import ConfigurationError, ReplicaFull, SessionError
from clustersession.django import SessionStore, configuration
from clustersession.tools.demo.processes import wait_for
from tests.adapters import django_project
from tests.adapters.django.views import User, aget, cookie, data, get, setting, with_cookie
from tests.adapters.django_project import DJANGOS, OTHERS, OURS
from tests.adapters.modes import environment_of, store_of_this_process


def test_the_session_works_as_ever(middleware: str) -> None:
    client = Client()
    response = get(client, lambda request: None)
    assert not response.cookies
    assert "Vary" not in response.headers
    response = get(client, lambda request: request.session.get("cart"))
    assert not response.cookies
    assert response.headers["Vary"] == "Cookie"
    response = get(client, setting(cart=[1]))
    assert cookie(client).endswith(".a")
    assert response.headers["Vary"] == "Cookie"
    assert "HttpOnly" in response.cookies["sessionid"].OutputString()
    assert data(client) == {"cart": [1]}
    response = get(client, lambda request: None)
    assert not response.cookies
    assert "Vary" not in response.headers


def test_changes_inside_values_are_found(middleware: str) -> None:
    client = Client()
    get(client, setting(cart=[1], seen={"a": 1}))
    get(client, lambda request: request.session["cart"].append(2))
    get(client, lambda request: request.session["seen"].pop("a"))
    assert data(client) == {"cart": [1, 2], "seen": {}}


def test_a_request_that_only_reads_commits_nothing(middleware: str) -> None:
    client = Client()
    get(client, setting(cart=[1]))
    counters, before = configuration.manager().counters, configuration.manager().counters.commits
    response = get(client, lambda request: dict(request.session.items()))
    assert not response.cookies
    assert counters.commits == before


def test_two_tabs_keep_both_their_attributes(middleware: str) -> None:
    client = Client()
    get(client, setting(a=0, b=0))

    def slow(request: HttpRequest) -> None:
        assert request.session["a"] == 0
        get(with_cookie(cookie(client)), setting(b=1))
        request.session["a"] = 1

    get(client, slow)
    assert data(client) == {"a": 1, "b": 1}


def test_logout_wins_and_the_late_answer_is_none_the_wiser(middleware: str, user: User) -> None:
    client = Client()
    get(client, lambda request: login(request, user))
    held = cookie(client)

    def slow(request: HttpRequest) -> None:
        assert request.user.is_authenticated
        response = get(with_cookie(held), logout)
        assert response.cookies["sessionid"]["max-age"] == 0
        request.session["late"] = 1

    response = get(client, slow)
    assert response.status_code == 200
    assert not response.cookies
    assert data(with_cookie(held)) == {}


def test_a_login_is_not_lost_to_a_logout_in_another_tab(middleware: str, user: User) -> None:
    other = get_user_model().objects.create_user("bob", password="secret")
    for logged_in_before in (False, True):
        client = Client()
        if logged_in_before:
            get(client, lambda request: login(request, other))
        get(client, setting(cart=[1]))
        held = cookie(client)

        def slow(request: HttpRequest, held: str = held) -> None:
            assert request.session["cart"] == [1]
            get(with_cookie(held), logout)
            login(request, user)

        get(client, slow)
        names: list[str] = []
        get(client, lambda request: names.append(request.user.username))  # noqa: B023
        assert names == ["ann"]
        assert "cart" not in data(client)
        assert data(with_cookie(held)) == {}


def test_a_logout_during_the_commit_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # The moment between Django's look at ``modified`` and its ``save``.
    for path_of_middleware in (DJANGOS, OURS):
        with override_settings(MIDDLEWARE=[path_of_middleware, *OTHERS]):
            client = Client()
            get(client, setting(a=1))
            held = cookie(client)
            original = SessionStore.save

            def late(
                self: SessionStore, original: Any = original, held: str = held, **_: Any
            ) -> None:
                SessionStore().delete(held)
                original(self)

            with monkeypatch.context() as patch:
                patch.setattr(SessionStore, "save", late)
                response = get(client, setting(a=2))
            assert response.status_code == 200
            if path_of_middleware == OURS:
                assert not response.cookies
            else:
                assert response.cookies["sessionid"].value == held
            assert data(with_cookie(held)) == {}


def test_failover_rewrites_the_route(middleware: str) -> None:
    client = Client()
    get(client, setting(a=1))
    identifier = cookie(client).partition(".")[0]
    moved = with_cookie(f"{identifier}.dead")
    response = get(moved, lambda request: None)
    assert response.cookies["sessionid"].value == f"{identifier}.a"
    if middleware == OURS or django.VERSION >= (5, 2):
        # Django's own middleware of 4.2 says it of a session that was read only.
        assert response.headers["Vary"] == "Cookie"
    assert not get(moved, lambda request: None).cookies
    assert data(moved) == {"a": 1}


def test_an_authentic_unknown_id_keeps_its_cookie(middleware: str) -> None:
    # It may live beyond a partition.
    other = Client()
    get(other, setting(a=1))
    held = cookie(other)
    configuration.close()
    with override_settings(CLUSTERSESSION={"route": "elsewhere"}):
        client = with_cookie(held)
        assert data(client) == {}
        assert not get(client, lambda request: request.session.pop("a", None)).cookies
        with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
            response = get(with_cookie(held), lambda request: request.session.get("a"))
            assert "sessionid" not in response.cookies or (
                response.cookies["sessionid"].value == held
            )
        get(client, setting(b=1))
        assert cookie(client).partition(".")[0] != held.partition(".")[0]
    assert data(with_cookie(held)) == {"a": 1}


def test_a_forged_id_is_removed_once_somebody_looks(middleware: str) -> None:
    forged = "A" * 39 + ".a"
    assert not get(with_cookie(forged), lambda request: None).cookies
    response = get(with_cookie(forged), lambda request: request.session.get("a"))
    assert response.cookies["sessionid"]["max-age"] == 0


def test_an_error_page_saves_nothing(middleware: str) -> None:
    client = Client()
    get(client, setting(a=1))

    def fails(request: HttpRequest) -> HttpResponse:
        request.session["a"] = 2
        return HttpResponse(status=503)

    assert not get(client, fails).cookies
    assert data(client) == {"a": 1}


def test_a_full_disk_costs_the_session_and_not_the_answer(
    middleware: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client()
    get(client, setting(a=1))

    def full(*_: Any) -> None:
        raise ReplicaFull("no space")

    monkeypatch.setattr(configuration.manager().replica, "commit", full)
    response = get(Client(), setting(a=1))
    assert response.status_code == 200
    assert "sessionid" not in response.cookies or response.cookies["sessionid"].value == ""
    assert get(client, setting(a=2)).status_code == 200
    assert data(client) == {"a": 1}


def test_saving_every_request_renews_the_cookie(middleware: str) -> None:
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        client = Client()
        assert not get(client, lambda request: None).cookies
        get(client, setting(a=1))
        response = get(client, lambda request: None)
        assert response.cookies["sessionid"]["max-age"] == settings.SESSION_COOKIE_AGE


def test_saving_every_request_renews_a_session_that_only_the_store_has(
    middleware: str, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        override_settings(SESSION_SAVE_EVERY_REQUEST=True), environment_of("store") as given,
    ):
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        client = Client()
        get(client, setting(a=1))
        stored = f"clustersession:{given['CLUSTERSESSION_CLUSTER_NAME']}:s:*"
        keys = store_of_this_process().admin
        wait_for(lambda: list(keys.scan_iter(stored)), "the session to be in the store")
        configuration.close()
        monkeypatch.setenv("XDG_STATE_HOME", str(state / "another host"))
        monkeypatch.setenv("CLUSTERSESSION_ROUTE", "b")
        renewed = get(client, lambda request: None).cookies["sessionid"]
        assert renewed["max-age"] == settings.SESSION_COOKIE_AGE
        if middleware == OURS:
            assert renewed.value.endswith(".b")
        assert data(client) == {"a": 1}
        configuration.close()


def test_saving_every_request_names_no_id_that_has_ended(middleware: str) -> None:
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        client = Client()
        get(client, setting(a=1))
        old = cookie(client)

        def slow(request: HttpRequest) -> None:
            assert request.session["a"] == 1
            get(client, lambda request: request.session.cycle_key())

        for view in (slow, setting(late=1), lambda request: None):
            late = get(with_cookie(old), view)
            # Only by a refusal can Django's own middleware be kept from setting the cookie.
            assert late.status_code == (200 if middleware == OURS else 400)
            assert not late.cookies
        assert data(client) == {"a": 1}
        login = cookie(client)
        get(client, lambda request: request.session.flush())
        after = get(with_cookie(login), lambda request: None)
        assert after.status_code == 200
        assert not after.cookies or after.cookies["sessionid"].value != login


@pytest.mark.parametrize("ask", [
    lambda session: session.session_key or session.create(), lambda session: session.create(),
    lambda session: session.load(), lambda session: session.save(must_create=True),
    lambda session: session.flush(), lambda session: session.set_expiry(60),
    lambda session: session.clear(),
])  # fmt: skip
def test_no_call_of_an_outdated_request_begins_a_session(middleware: str, ask: Any) -> None:
    client = Client()
    get(client, setting(a=1))
    old = cookie(client)
    get(client, lambda request: request.session.cycle_key())
    stored = len(configuration.manager().replica.keys("", 10))
    for count in (1, 2):
        def late(request: HttpRequest, count: int = count) -> HttpResponse:
            for _ in range(count):
                ask(request.session)
                request.session["late"] = 1
            return JsonResponse({"key": request.session.session_key})

        response = get(with_cookie(old), late)
        assert (response.status_code, dict(response.cookies)) == (200, {})
        named = json.loads(response.content)["key"]
        assert named == old.partition(".")[0]
    assert len(configuration.manager().replica.keys("", 10)) == stored
    assert data(client) == {"a": 1}


def test_a_login_with_an_outdated_id_counts(middleware: str, user: User) -> None:
    for log_in in (
        lambda request: login(request, user),
        lambda request: setattr(request.session, "principal", "ann"),
        lambda request: request.session.cycle_key(),
    ):
        client = Client()
        get(client, setting(a=1))
        late = with_cookie(cookie(client))
        get(client, lambda request: request.session.cycle_key())
        get(late, log_in)
        assert cookie(late) != cookie(client)
        get(late, setting(b=1))
        assert data(late)["b"] == 1


def test_the_cookie_outlives_the_browser_as_django_says(middleware: str) -> None:
    client = Client()
    assert get(client, setting(a=1)).cookies["sessionid"]["max-age"] == 1_209_600
    response = get(client, lambda request: request.session.set_expiry(60))
    assert response.cookies["sessionid"]["max-age"] == 60
    response = get(client, lambda request: request.session.set_expiry(0))
    assert middleware == OURS or response.cookies["sessionid"]["max-age"] == ""
    with override_settings(SESSION_EXPIRE_AT_BROWSER_CLOSE=True):
        assert get(Client(), setting(a=1)).cookies["sessionid"]["max-age"] == ""


@pytest.mark.skipif(django.VERSION < (5, 1), reason="sessions have no async methods")
async def test_async_tabs_merge(middleware: str) -> None:
    client = AsyncClient()

    async def begin(request: HttpRequest) -> None:
        await request.session.aupdate({"a": 0, "b": 0})

    await aget(client, begin)
    both_open = asyncio.Barrier(2)

    async def change(request: HttpRequest) -> None:
        await request.session.aget("a")
        await both_open.wait()
        await request.session.aset(request.GET["name"], 1)

    django_project.view = change
    await asyncio.gather(client.get("/a?name=a"), client.get("/a?name=b"))
    found: dict[str, Any] = {}

    async def read(request: HttpRequest) -> None:
        found.update(await request.session.aitems())

    await aget(client, read)
    assert found == {"a": 1, "b": 1}


def test_wrong_settings_stop_our_middleware_at_the_start() -> None:
    with override_settings(MIDDLEWARE=[OURS], CLUSTERSESSION={"rout": "b"}):
        with pytest.raises(ConfigurationError, match="route"):
            get(Client(), lambda request: None)
    with override_settings(
        MIDDLEWARE=[OURS], SESSION_ENGINE="django.contrib.sessions.backends.db"
    ):
        with pytest.raises(ImproperlyConfigured, match="SESSION_ENGINE"):
            get(Client(), lambda request: None)


def test_wrong_settings_stop_djangos_own_middleware_at_the_start_too() -> None:
    django = "django.contrib.sessions.middleware.SessionMiddleware"
    with override_settings(MIDDLEWARE=[django], CLUSTERSESSION={"rout": "b"}):
        with pytest.raises(ConfigurationError, match="route"):
            # As a server does that loads the project: nobody has asked anything yet.
            BaseHandler().load_middleware()
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        clustersession.django.Other  # noqa: B018


def test_the_id_from_a_header(state: Any) -> None:
    with override_settings(MIDDLEWARE=[OURS], CLUSTERSESSION={"header_name": "X-Session"}):
        client = Client()
        get(client, setting(a=1))
        found: dict[str, Any] = {}
        response = get(
            Client(), lambda request: found.update(request.session.items()),
            headers={"X-Session": cookie(client)},
        )
        assert found == {"a": 1}
        assert not response.cookies


def test_causal_reads_carry_a_second_cookie(state: Any) -> None:
    with override_settings(MIDDLEWARE=[OURS], CLUSTERSESSION={"consistency": "causal"}):
        client = Client()
        response = get(client, setting(a=1))
        assert response.cookies["sessionid_v"].value
        assert data(client) == {"a": 1}
        response = get(client, lambda request: request.session.flush())
        assert response.cookies["sessionid"]["max-age"] == 0
        assert response.cookies["sessionid_v"]["max-age"] == 0


def test_answers_in_the_header_of_a_client_without_cookies() -> None:
    with override_settings(MIDDLEWARE=[OURS], CLUSTERSESSION={"header_name": "X-Session"}):
        begun = get(Client(), lambda r: r.session.update({"n": 1}))
        value = begun.headers["X-Session"]
        # Nobody knows yet which of the two such a client keeps.
        assert (value, value.endswith(".a")) == (begun.cookies["sessionid"].value, True)
        assert begun.headers["Cache-Control"] == "no-store"
        assert begun.headers["Vary"] == "Cookie, X-Session"
        by_header = {"X-Session": value}
        read = get(Client(), lambda r: JsonResponse(dict(r.session.items())), headers=by_header)
        assert (json.loads(read.content), "X-Session" in read.headers) == ({"n": 1}, False)
        turned = get(Client(), lambda r: r.session.cycle_key(), headers=by_header)
        by_header["X-Session"] = turned.headers["X-Session"]
        assert (by_header["X-Session"] != value, dict(turned.cookies)) == (True, {})
        ended = get(Client(), lambda r: r.session.flush(), headers=by_header)
        assert (ended.headers["X-Session"], dict(ended.cookies)) == ("", {})


def test_a_script_in_a_page_is_not_answered_in_the_header() -> None:
    with override_settings(MIDDLEWARE=[OURS], CLUSTERSESSION={"header_name": "X-Session"}):
        begun = get(
            Client(), lambda r: r.session.update({"n": 1}), headers={"Sec-Fetch-Site": "cross-site"}
        )
        assert "X-Session" not in begun.headers
        assert "sessionid" in begun.cookies


def test_excluded_paths_have_no_session() -> None:
    with override_settings(MIDDLEWARE=[OURS, *OTHERS], CLUSTERSESSION={"exclude": ["/"]}):
        answer = get(Client(), lambda r: JsonResponse([r.session.get("n"), r.user.is_authenticated],
                                                      safe=False))
        assert (json.loads(answer.content), dict(answer.cookies)) == ([None, False], {})
        for change in (
            lambda r: r.session.update({"n": 1}), lambda r: r.session.save(),
            lambda r: r.session.flush(), lambda r: r.session.cycle_key(),
        ):
            with pytest.raises(SessionError, match="exclude"):
                get(Client(), change)


def test_a_cookie_that_earlier_code_has_set_counts_beside_any_other() -> None:
    with override_settings(MIDDLEWARE=[OURS]):
        client = Client()
        get(client, setting(a=1))
        request = RequestFactory().get("/", headers={"Cookie": "other_sessionid=1"})
        request.COOKIES["sessionid"] = cookie(client)
        import_string(OURS)(lambda _: HttpResponse()).process_request(request)
        assert dict(request.session.items()) == {"a": 1}


def test_no_session_begins_while_a_body_is_streamed() -> None:
    with override_settings(MIDDLEWARE=[OURS]):
        def view(request: HttpRequest) -> StreamingHttpResponse:
            def body() -> Iterator[str]:
                request.session["late"] = 1
                request.session.save()
                yield "x"

            return StreamingHttpResponse(body())

        client = Client()
        response: Any = get(client, view)
        assert b"".join(response.streaming_content) == b"x"
        assert not client.cookies
        assert configuration.manager().replica.keys("", 10) == []
