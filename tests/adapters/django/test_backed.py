"""The session of ours behind a Django session: its id, its expiry, its attributes."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, JsonResponse
from django.test import Client, override_settings
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from clustersession.core.state import shared
from clustersession.django import SessionStore
from tests.adapters.django.views import cookie, get, with_cookie


def test_the_key_is_the_id_and_the_cookie_names_the_route(middleware: str) -> None:
    client, keys = Client(), []

    def view(request: HttpRequest) -> None:
        request.session.create()
        keys.append((request.session.session_key, request.session.sid))

    get(client, view)
    ((key, identifier),) = keys
    assert len(identifier) == 39
    assert cookie(client) == f"{identifier}.a"
    assert key == identifier
    assert SessionStore(identifier).exists(key)


def test_the_key_stays_the_same_at_a_failover(middleware: str) -> None:
    client, keys = Client(), []

    def look(request: HttpRequest) -> None:
        # Before anything is opened, too.
        keys.append(request.session.session_key)
        request.session.get("a")
        keys.append(request.session.session_key)

    get(client, lambda request: request.session.update({"a": 1}))
    identifier = cookie(client).partition(".")[0]
    moved = with_cookie(f"{identifier}.gone")
    get(moved, look)
    assert cookie(moved) == f"{identifier}.a"
    get(moved, look)
    assert keys == [identifier] * 4


@pytest.mark.parametrize("is_copied", [False, True])
def test_a_subclass_of_djangos_middleware_sends_the_route_too(is_copied: bool) -> None:
    path = f"{__name__}.{'Copied' if is_copied else 'Derived'}"
    with override_settings(MIDDLEWARE=[path]):
        client, keys = Client(), []

        def look(request: HttpRequest) -> None:
            request.session["a"] = 1
            request.session.save()
            keys.append(request.session.session_key)

        get(client, look)
        assert cookie(client) == f"{keys[0]}.a"
        assert len(keys[0]) == 39


class Derived(SessionMiddleware):
    """Adds nothing."""


class Copied(SessionMiddleware):
    """Writes the cookie itself, as packages do that began as a copy of Django's."""

    def process_response(self, request: Any, response: Any) -> Any:
        request.session.save()
        response.set_cookie(settings.SESSION_COOKIE_NAME, request.session.session_key)
        return response


@pytest.mark.parametrize("is_lazy", [False, True])
def test_the_middleware_of_channels_sends_the_route_too(is_lazy: bool) -> None:
    """Channels keeps the session in a LazyObject, and makes its key the cookie in ``send``."""
    channels: dict[str, Any] = {"__name__": "channels.sessions"}
    exec("def send(session): return session.session_key\n"
         "def look(session): return session.session_key", channels)
    store = SessionStore()
    store["a"] = 1
    store.save()
    session = SimpleLazyObject(lambda: store) if is_lazy else store
    assert channels["send"](session) == f"{store.sid}.a"
    assert channels["look"](session) == store.sid


@pytest.mark.parametrize("kept", ["id", "cookie"])
def test_a_kept_key_opens_looks_at_and_ends_the_session(middleware: str, kept: str) -> None:
    client = Client()
    get(client, lambda request: request.session.update({"a": 1}))
    key = cookie(client) if kept == "cookie" else cookie(client).partition(".")[0]
    assert SessionStore().exists(key)
    assert SessionStore(key).load() == {"a": 1}
    store = SessionStore(session_key=key)
    assert store["a"] == 1
    store["b"] = 2
    store.save()
    assert store.session_key == key[:39]
    assert SessionStore(key).load() == {"a": 1, "b": 2}
    SessionStore(key).flush()
    assert not SessionStore().exists(key)
    get(client, lambda request: request.session.update({"a": 1}))
    other = cookie(client)[:39]
    SessionStore().delete(other)
    assert not SessionStore().exists(other)


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
