"""The runtime of an application is found, whatever stands around it."""

from typing import Any

import flask
import pytest
from fastapi import FastAPI

from clustersession import asgi, wsgi
from clustersession.flask import ClusterSession
from clustersession.testing.apps import packages_of, runtime_of


class Around:
    def __init__(self, app: Any) -> None:
        self.app = app


def test_middleware_is_looked_through() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    ours = asgi.ClusterSessionMiddleware(app)
    assert runtime_of(Around(Around(ours))) is ours.runtime


def test_so_is_what_frameworks_keep_around_themselves() -> None:
    app = flask.Flask("shop")
    app.config["SECRET_KEY"] = "a key of ours"
    ClusterSession(app)
    found = runtime_of(app)
    app.wsgi_app = Around(app.wsgi_app)  # type: ignore[method-assign]
    assert runtime_of(app) is found
    assert runtime_of(Around(app.wsgi_app)) is found


def test_an_application_without_middleware_of_its_own_is_found_inside_ours() -> None:
    ours = wsgi.ClusterSessionMiddleware(flask.Flask("shop"))
    assert runtime_of(ours) is ours.runtime


@pytest.mark.parametrize("app", [flask.Flask("shop"), FastAPI(), print, None, 7], ids=type)
def test_an_application_without_sessions_of_ours_is_refused(app: Any) -> None:
    with pytest.raises(LookupError, match="pass the application"):
        runtime_of(app)


def test_a_circle_ends() -> None:
    circle = Around(None)
    circle.app = Around(circle)
    with pytest.raises(LookupError):
        runtime_of(circle)


def test_packages_are_those_of_the_bases_too() -> None:
    class Own(flask.Flask):
        pass

    assert {"flask", "tests"} <= packages_of(Own("shop"))
