"""The SessionStore by itself."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

import django
import pytest
from django.contrib.sessions.backends.base import SessionBase
from django.core import management
from django.db.models import TextChoices
from django.forms.utils import ErrorList
from django.http import QueryDict
from django.test import Client
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from clustersession.core.errors import UnserializableValue
from clustersession.django import SessionStore, configuration
from clustersession.session.session import Session
from tests.adapters.django.views import cookie, data, get, setting


def test_what_cannot_be_stored_is_named(middleware: str) -> None:
    client = Client()
    get(client, setting(a=1))
    with pytest.raises(UnserializableValue, match=r"thing"):
        get(client, setting(thing=object()))
    with pytest.raises(UnserializableValue, match=r"thing"):
        get(client, setting(thing=[object()]))
    assert data(client) == {"a": 1}


def test_values_keep_their_types(middleware: str) -> None:
    client = Client()
    values = {
        "uuid": UUID(int=7), "when": datetime(2026, 1, 2, tzinfo=UTC), "price": Decimal("1.10"),
        "pair": (1, 2), "lazy": lazystr("text"), "safe": mark_safe("<b>"), "numbers": {1: "one"},
    }
    get(client, setting(**values))
    assert data(client) == {**values, "lazy": "text"}


class Paid(TextChoices):
    YES = "y", "Yes"


def test_what_django_s_json_takes_becomes_plain(middleware: str) -> None:
    client = Client()
    get(client, setting(
        form=QueryDict("a=1&a=2&b=x"), paid=Paid.YES, counts={Paid.YES: Paid.YES.label},
        label=gettext_lazy("Yes"), errors=ErrorList(["too short"]),
    ))
    stored = data(client)
    assert stored == {
        "form": {"a": "2", "b": "x"}, "paid": "y", "counts": {"y": "Yes"}, "label": "Yes",
        "errors": ["too short"],
    }
    assert [type(value) for value in stored.values()] == [dict, str, dict, str, list]


def test_every_method_of_djangos_sessions_is_there() -> None:
    names = {name for name in dir(SessionBase) if not name.startswith("__")}
    assert names <= set(dir(SessionStore))
    asynchronous = {name for name in names if f"a{name}" in names}
    if django.VERSION >= (5, 1):
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


def test_with_other_frameworks_the_last_writer_says_how_long_and_flush_ends_all(
    middleware: str,
) -> None:
    def elsewhere(change: Callable[[Session], object]) -> Session:
        """A request to an application of another framework on the same node."""
        manager = configuration.manager()
        visit = manager.open([cookie(client)])
        session = cast(Session, visit.session)
        change(session)
        header = manager.commit(visit).set_cookie
        if header:
            client.cookies["sessionid"] = header.partition(";")[0].partition("=")[2]
        return session

    client = Client()
    get(client, setting(django=1))

    def log_in(session: Session) -> None:
        session.rotate()
        session.principal, session.label, session.idle_timeout = "7", "Firefox", 60
        session.update(_permanent=True, _flashes=[("message", "Hi!")], pair=("tea", 2))

    elsewhere(log_in)
    assert data(client)["_flashes"] == [("message", "Hi!")]
    get(client, setting(django=2))
    get(client, lambda request: request.session.cycle_key())
    found = elsewhere(lambda session: None)
    assert found == {
        "django": 2, "_permanent": True, "_flashes": [("message", "Hi!")], "pair": ("tea", 2),
    }
    assert (found.principal, found.label, found.idle_timeout) == ("7", "Firefox", 1_209_600)
    get(client, lambda request: request.session.clear())
    found = elsewhere(lambda session: None)
    assert (dict(found), found.principal) == ({}, "7"), "Django's clear() is no logout"
    before = cookie(client)
    get(client, lambda request: request.session.flush())
    client.cookies["sessionid"] = before
    assert elsewhere(lambda session: None).principal is None
