"""What every adapter keeps, for Django with either middleware."""

import asyncio
import json
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.http import JsonResponse
from django.test import Client, override_settings

from clustersession.django import configuration
from clustersession.session.events import Events
from clustersession.worker.runtime import Runtime
from tests.adapters import django_project
from tests.adapters.contract import COOKIE_NAME, AdapterContract, Answer, Served, View
from tests.adapters.django.views import get
from tests.adapters.django_project import DJANGOS, OURS


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

    ways_to_read: Mapping[str, View] = {
        "[]": lambda s: s["user"], "in": lambda s: "user" in s, "get": lambda s: s.get("user"),
        "del": lambda s: operator.delitem(s, "user"), "pop": lambda s: s.pop("user", None),
        "items": lambda s: s.items(), "keys": lambda s: s.keys(), "values": lambda s: s.values(),
        "has_key": lambda s: s.has_key("user"), "dict": dict, "json": lambda s: json.dumps(dict(s)),
        "setdefault": lambda s: s.setdefault("user", "bob"), "clear": lambda s: s.clear(),
        "session_key": lambda s: s.session_key, "sid": lambda s: s.sid,
        "is_empty": lambda s: s.is_empty(), "principal": lambda s: s.principal,
        "label": lambda s: s.label, "cluster": lambda s: s.cluster,
        "clustered": lambda s: s.clustered,
        "get_expiry_age": lambda s: s.get_expiry_age(),
        "get_expiry_date": lambda s: s.get_expiry_date(),
        "get_expire_at_browser_close": lambda s: s.get_expire_at_browser_close(),
        "test_cookie_worked": lambda s: s.test_cookie_worked(), "load": lambda s: s.load(),
        "save": lambda s: s.save(), "cycle_key": lambda s: s.cycle_key(),
        "set": lambda s: s.set("user", "bob", expires_in=60),
        "expires_in": lambda s: s.expires_in("user"),
        "swap": lambda s: s.swap("user", "nobody", "bob"),
        "aswap": lambda s: asyncio.run(s.aswap("user", "nobody", "bob")),
        "flush": lambda s: s.flush(), "aget": lambda s: asyncio.run(s.aget("user")),
        "ahas_key": lambda s: asyncio.run(s.ahas_key("user")),
        "aitems": lambda s: asyncio.run(s.aitems()),
        "aload": lambda s: asyncio.run(s.aload()),
        "aget_expiry_age": lambda s: asyncio.run(s.aget_expiry_age()),
    }
    if not hasattr(SessionBase, "aget"):  # before Django 5.1
        ways_to_read = {name: way for name, way in ways_to_read.items() if name[0] != "a"}

    def clear(self, session: Any) -> None:
        # Here a flush ends the session at once, as a logout, and a login cycles the key.
        session.clear()
        session.cycle_key()

    def log_out(self, session: Any) -> None:
        session.flush()

    def rotate(self, session: Any) -> None:
        session.cycle_key()


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
