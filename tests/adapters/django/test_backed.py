"""The session of ours behind a Django session: its id, its expiry, its attributes."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.http import HttpRequest, JsonResponse
from django.test import Client, override_settings
from django.utils import timezone

from clustersession.core.state import shared
from clustersession.django import SessionStore
from tests.adapters.django.views import cookie, get
from tests.adapters.django_project import OURS


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
