"""Django projects that do not notice the difference, but for what gets better.

Most tests run twice: with ``SESSION_ENGINE`` as the only change, under Django's own middleware, and
under ours.
"""

import asyncio
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import (
    alogin,
    aupdate_session_auth_hash,
    get_user_model,
    login,
    logout,
    update_session_auth_hash,
)
from django.contrib.sessions.backends.base import SessionBase
from django.core import management
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.utils import timezone
from django.utils.functional import lazystr
from django.utils.module_loading import import_string
from django.utils.safestring import mark_safe

import clustersession.django
from clustersession.core.errors import (
    ConfigurationError,
    ReplicaFull,
    SessionError,
    UnserializableValue,
)
from clustersession.core.state import shared
from clustersession.django import SessionStore, configuration
from clustersession.django.apps import check_settings
from clustersession.session.events import Events
from clustersession.worker.runtime import Runtime
from tests.adapters import django_project
from tests.adapters.contract import COOKIE_NAME, AdapterContract, Answer, Served
from tests.adapters.django_project import DJANGOS, OTHERS, OURS

User = Any  # the model can only be imported once Django is set up
@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    configuration.close()
    yield
    configuration.close()


@pytest.fixture(params=[DJANGOS, OURS], ids=["engine", "middleware"])
def middleware(request: pytest.FixtureRequest) -> Iterator[str]:
    with override_settings(MIDDLEWARE=[request.param, *OTHERS]):
        yield request.param


@pytest.fixture(scope="session")
def database() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        management.call_command("migrate", verbosity=0)


@pytest.fixture
def user(database: None) -> User:
    users = get_user_model().objects
    users.all().delete()
    return users.create_user("ann", password="secret")


def get(client: Client, view: Callable[[HttpRequest], Any], **extra: Any) -> HttpResponse:
    """Serve one request with the view."""
    before, django_project.view = django_project.view, view
    try:
        return client.get("/", **extra)  # type: ignore[return-value]
    finally:
        django_project.view = before


async def aget(client: AsyncClient, view: Callable[[HttpRequest], Any]) -> HttpResponse:
    django_project.view = view
    return await client.get("/a")  # type: ignore[return-value]


def data(client: Client) -> dict[str, Any]:
    """What a request finds in the session."""
    found: dict[str, Any] = {}
    get(client, lambda request: found.update(request.session.items()))
    return found


def cookie(client: Client) -> str:
    morsel = client.cookies.get("sessionid")
    return morsel.value if morsel is not None else ""


def with_cookie(value: str) -> Client:
    client = Client()
    client.cookies["sessionid"] = value
    return client


def setting(**values: Any) -> Callable[[HttpRequest], None]:
    return lambda request: request.session.update(values)


# --- a request -----------------------------------------------------------------------------------


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
    assert response.headers["Vary"] == "Cookie"
    assert not get(moved, lambda request: None).cookies
    assert data(moved) == {"a": 1}


def test_the_key_names_the_route_only_for_djangos_middleware(middleware: str) -> None:
    client, keys = Client(), []

    def view(request: HttpRequest) -> None:
        request.session.create()
        keys.append((request.session.session_key, request.session.sid))

    get(client, view)
    ((key, identifier),) = keys
    assert len(identifier) == 39
    assert cookie(client) == f"{identifier}.a"
    assert key == (identifier if middleware == OURS else cookie(client))
    assert SessionStore(identifier).exists(key)


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


def test_what_cannot_be_stored_is_named(middleware: str) -> None:
    client = Client()
    get(client, setting(a=1))
    with pytest.raises(UnserializableValue, match=r"thing"):
        get(client, setting(thing=object()))
    with pytest.raises(UnserializableValue, match=r"thing"):
        get(client, setting(thing=[object()]))
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


def test_the_cookie_outlives_the_browser_as_django_says(middleware: str) -> None:
    client = Client()
    assert get(client, setting(a=1)).cookies["sessionid"]["max-age"] == 1_209_600
    response = get(client, lambda request: request.session.set_expiry(60))
    assert response.cookies["sessionid"]["max-age"] == 60
    response = get(client, lambda request: request.session.set_expiry(0))
    assert middleware == OURS or response.cookies["sessionid"]["max-age"] == ""
    with override_settings(SESSION_EXPIRE_AT_BROWSER_CLOSE=True):
        assert get(Client(), setting(a=1)).cookies["sessionid"]["max-age"] == ""


# --- Django's own users of the session -----------------------------------------------------------


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


def test_values_keep_their_types(middleware: str) -> None:
    client = Client()
    values = {
        "uuid": UUID(int=7), "when": datetime(2026, 1, 2, tzinfo=UTC), "price": Decimal("1.10"),
        "pair": (1, 2), "lazy": lazystr("text"), "safe": mark_safe("<b>"), "numbers": {1: "one"},
    }
    get(client, setting(**values))
    assert data(client) == {**values, "lazy": "text"}


# --- async ---------------------------------------------------------------------------------------


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


# --- the store by itself -------------------------------------------------------------------------


def test_every_method_of_djangos_sessions_is_there() -> None:
    names = {name for name in dir(SessionBase) if not name.startswith("__")}
    assert names <= set(dir(SessionStore))
    asynchronous = {name for name in names if f"a{name}" in names}
    assert {"get", "save", "cycle_key", "flush", "exists", "load"} <= asynchronous


def test_modified_false_is_taken_at_its_word() -> None:
    store = SessionStore()
    store["a"] = [1]
    store.modified = False
    assert not store.modified
    store["a"].append(2)
    assert not store.modified
    store.pop("nothing", None)
    assert not store.modified
    store["b"] = 1
    assert store.modified


def test_expiry_by_date_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    store, date = SessionStore(), datetime.now(UTC) + timedelta(seconds=600)
    store["a"] = 1
    store.set_expiry(date)
    store.save()
    assert 500 <= store.clustered.idle_timeout <= 600
    monkeypatch.setattr(timezone, "now", lambda: date - timedelta(seconds=1))
    assert "a" in SessionStore(store.session_key)
    monkeypatch.setattr(timezone, "now", lambda: date)
    late = SessionStore(store.session_key)
    assert "a" not in late
    assert late.is_empty()


def test_a_session_that_ended_on_its_own_date_begins_anew() -> None:
    store = SessionStore()
    store["a"] = 1
    store.set_expiry(-5)
    store.save()
    late = SessionStore(store.session_key)
    late["b"] = 2
    late.save()
    assert SessionStore(late.session_key).load() == {"b": 2}
    assert late.session_key != store.session_key


def test_an_expiry_beyond_that_of_other_sessions(caplog: pytest.LogCaptureFixture) -> None:
    year_s = 365 * 86_400
    store = SessionStore()
    store["a"] = 1
    store.save()
    before = store.sid
    store.set_expiry(80 * 86_400)
    store.save()
    opened, moved = store.clustered, store.sid
    assert moved != before
    assert (opened.lifetime, opened.idle_timeout) == (80 * 86_400, 80 * 86_400)
    store["a"] = 2
    store.save()
    assert store.sid == moved
    assert not caplog.records
    store.set_expiry(year_s)
    store.save()
    assert "lifetime_s_max" in caplog.text
    assert SessionStore(store.session_key).load()["a"] == 2
    with override_settings(CLUSTERSESSION={"lifetime_s_max": year_s}):
        other = SessionStore()
        other.set_expiry(year_s)
        other.save()
        assert other.clustered.lifetime == year_s


def test_create_leaves_the_old_session_alone() -> None:
    store = SessionStore()
    store["a"] = 1
    store.save()
    old = store.session_key
    store.create()
    assert store.session_key != old
    assert SessionStore(old).load() == SessionStore(store.session_key).load() == {"a": 1}


def test_clearsessions_does_no_harm() -> None:
    store = SessionStore()
    store["a"] = 1
    store.save()
    management.call_command("clearsessions")
    assert SessionStore(store.session_key).load() == {"a": 1}


# --- settings ------------------------------------------------------------------------------------


def messages_of(**values: Any) -> list[str]:
    with override_settings(**values):
        return [message.msg for message in check_settings()]


def test_the_check_names_what_to_change() -> None:
    assert messages_of() == []
    (message,) = messages_of(CLUSTERSESSION={"distributible": True})
    assert "did you mean distributable?" in message
    (message,) = messages_of(CLUSTERSESSION=["route"])
    assert "must be a dict" in message
    (message,) = messages_of(CLUSTERSESSION_ROUTE="b")
    assert 'CLUSTERSESSION = {"route": ...}' in message
    (message,) = messages_of(CLUSTERSESSION={"cookie_secure": True})
    assert "SESSION_COOKIE_SECURE" in message
    (message,) = messages_of(CLUSTERSESSION={"idle_timeout_s": 60})
    assert "SESSION_COOKIE_AGE" in message
    first, second = messages_of(
        CLUSTERSESSION={"header_name": "X-Session", "consistency": "causal"}
    )
    assert OURS in first
    assert OURS in second
    (message,) = messages_of(SESSION_COOKIE_NAME="session")
    assert "httpd" in message
    (message,) = messages_of(SESSION_ENGINE="django.contrib.sessions.backends.db")
    assert "not clustered" in message


def test_the_check_is_part_of_manage_py_check() -> None:
    with override_settings(CLUSTERSESSION={"rout": "b"}):
        with pytest.raises(management.CommandError, match="did you mean route"):
            management.call_command("check")


def test_settings_come_from_django(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERSESSION_ACK", "all")
    with override_settings(
        CLUSTERSESSION={"ROUTE": "b", "dropTime": 5000}, SESSION_COOKIE_AGE=60,
        SECRET_KEY_FALLBACKS=["an older key"],
    ):
        found = configuration.read_settings()
    assert (found.route, found.drop_time_s, found.ack) == ("b", 5.0, "all")
    assert (found.idle_timeout_s, found.cookie_name) == (60.0, "sessionid")
    assert len(found.secret) == 2


def test_wrong_settings_stop_our_middleware_at_the_start() -> None:
    with override_settings(MIDDLEWARE=[OURS], CLUSTERSESSION={"rout": "b"}):
        with pytest.raises(ConfigurationError, match="route"):
            get(Client(), lambda request: None)
    with override_settings(
        MIDDLEWARE=[OURS], SESSION_ENGINE="django.contrib.sessions.backends.db"
    ):
        with pytest.raises(ImproperlyConfigured, match="SESSION_ENGINE"):
            get(Client(), lambda request: None)


def test_starting_and_importing_opens_nothing(state: Any) -> None:
    with override_settings(MIDDLEWARE=[OURS, *OTHERS]):
        check_settings()
        Client().handler.load_middleware()
        SessionStore("12345678")
        assert not list(state.iterdir())
        clustersession.django.start()
        assert list(state.iterdir())


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


# --- what every adapter keeps --------------------------------------------------------------------


class ServedByDjango(Served):
    """Views behind the project's one page."""

    def __init__(self, views: Mapping[str, Callable[[Any], object]]) -> None:
        self._views = views

    def get(self, view: str, cookie: str | None = None) -> Answer:
        client = Client()
        if cookie is not None:
            client.cookies[COOKIE_NAME] = cookie
        response = get(
            client,
            lambda request: JsonResponse(self._views[view](request.session), safe=False),
        )
        return Answer(
            response.status_code, json.loads(response.content),
            tuple(morsel.OutputString() for morsel in response.cookies.values()),
            response.headers.get("Vary", ""),
        )

    def runtime(self) -> Runtime:
        return configuration.runtime()


class TestContract(AdapterContract):
    path_of_middleware = OURS

    @contextmanager
    def serve(
        self, views: Mapping[str, Callable[[Any], object]], listeners: Events | None = None
    ) -> Iterator[Served]:
        django_project.listeners = listeners or Events()
        with override_settings(
            MIDDLEWARE=[self.path_of_middleware], SESSION_COOKIE_NAME=COOKIE_NAME,
            SESSION_EXPIRE_AT_BROWSER_CLOSE=True,
            CLUSTERSESSION={"LISTENERS": "tests.adapters.django_project.listeners"},
        ):
            yield ServedByDjango(views)

    def log_out(self, session: Any) -> None:
        session.flush()


class TestContractOfTheEngineAlone(TestContract):
    path_of_middleware = DJANGOS

    def test_changes_inside_values_are_noticed(self) -> None:
        """As in the contract, but Django's middleware sets the cookie again at every change."""
        with ExitStack() as stack:
            first, second = self.two_workers(stack, [])
            cookie = first.get("begin").cookie
            assert cookie
            assert first.get("append", cookie).cookie == cookie
            assert second.get("read", cookie).data["cart"] == ["tea", {"spoons": [1, 2]}, "cake"]


# --- settings that need the middleware -----------------------------------------------------------


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


def test_the_engine_alone_refuses_to_exclude_paths() -> None:
    with override_settings(CLUSTERSESSION={"exclude": ["/static/.*"]}):
        errors = [message.msg for message in check_settings()]
        assert len(errors) == 1
        assert "exclude is" in errors[0]
        assert "ClusterSessionMiddleware" in errors[0]


def test_local_attributes_stay_on_the_node(middleware: str) -> None:
    with override_settings(CLUSTERSESSION={"local_attributes": ["view_.*"]}):
        client = Client()
        get(client, lambda r: r.session.update({"view_state": 1, "n": 1}))
        get(client, lambda r: r.session.cycle_key())
        names = set[str]()

        def look(request: Any) -> JsonResponse:
            names.update(shared(request.session.opened().state).registers)
            return JsonResponse(dict(request.session.items()))

        assert json.loads(get(client, look).content) == {"view_state": 1, "n": 1}
        assert "n" in names
        assert not any("view_state" in name for name in names)


@pytest.mark.parametrize(
    ("listeners", "said"),
    [("tests.adapters.django_project.nothing", "cannot be imported"), ("json.dumps", "Events")],
)
def test_listeners_that_are_none_are_found_by_the_check(listeners: str, said: str) -> None:
    with override_settings(CLUSTERSESSION={"LISTENERS": listeners}):
        assert [said in message.msg for message in check_settings()] == [True]


def test_a_cookie_that_earlier_code_has_set_counts_beside_any_other() -> None:
    with override_settings(MIDDLEWARE=[OURS]):
        client = Client()
        get(client, setting(a=1))
        request = RequestFactory().get("/", headers={"Cookie": "other_sessionid=1"})
        request.COOKIES["sessionid"] = cookie(client)
        import_string(OURS)(lambda _: HttpResponse()).process_request(request)
        assert dict(request.session.items()) == {"a": 1}
