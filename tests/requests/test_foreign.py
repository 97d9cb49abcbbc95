"""Session middlewares of others inside ours, found before any request."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import Session, SessionMiddleware
from starlette.routing import Mount, Route

from clustersession.requests.foreign import NODES_MAX, ScopeSessions, inside
from clustersession.worker.runtime import Runtime


class PlainSessions:
    """Does what session middlewares do whose sessions are plain dicts."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["session"] = {}
        await self.app(scope, receive, send)


class LooksFirst:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["user"] = scope["session"].get("user")
        await self.app(scope, receive, send)


def as_function(app: Any) -> Any:
    async def put_in(scope: Any, receive: Any, send: Any) -> None:
        scope["session"] = {}
        await app(scope, receive, send)

    return put_in


async def replaces(scope: Any, receive: Any, send: Any) -> None:
    scope["session"] = {"replaced": True}


def mounted(app: Any) -> Starlette:
    return Starlette(routes=[Route("/", replaces), Mount("/a", routes=[Mount("/b", app)])])


def judge(app: Any) -> ScopeSessions:
    return ScopeSessions(app, Runtime.from_options({}))


@pytest.mark.parametrize("app", [
    PlainSessions(replaces), LooksFirst(PlainSessions(replaces)), as_function(replaces),
    mounted(PlainSessions(replaces)), mounted(as_function(replaces)),
    mounted(Starlette(middleware=[Middleware(PlainSessions)])),
])  # fmt: skip
def test_a_plain_dict_is_the_middlewares_that_puts_one_there(app: Any) -> None:
    assert judge(app).is_foreign({})
    assert not judge(app).is_foreign(None)


@pytest.mark.parametrize("app", [
    replaces, LooksFirst(replaces), mounted(LooksFirst(replaces)),
    # The sessions of this one are known by their class.
    mounted(SessionMiddleware(replaces, "key")),
])  # fmt: skip
def test_a_plain_dict_is_the_applications_where_no_middleware_puts_one_there(app: Any) -> None:
    judged = judge(app)
    assert not judged.is_foreign({"replaced": True})
    assert judged.is_foreign(Session())


def test_the_log_says_once_how_to_share(caplog: pytest.LogCaptureFixture) -> None:
    runtime = Runtime.from_options({})
    for _ in range(2):
        assert ScopeSessions(PlainSessions(replaces), runtime).is_foreign({})
        assert ScopeSessions(replaces, runtime).is_foreign(Session())
    (record,) = caplog.records
    assert "remove the inner middleware" in record.getMessage()
    assert f"{__name__}.PlainSessions" in record.getMessage()


def test_what_has_every_attribute_or_none_is_looked_at_all_the_same() -> None:
    class Refuses:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("outside of a request")

    class Endless:
        def __getattr__(self, name: str) -> Any:
            return Endless()

    assert len(list(inside([Refuses(), Endless()]))) == NODES_MAX
