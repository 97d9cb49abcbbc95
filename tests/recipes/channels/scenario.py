"""Logins in consumers, sockets that write into the session, a node that dies under a socket."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from clustersession.tools.demo.nodes import COOKIE_NAME
from tests.recipes.django_base import NAME, PASSWORD
from tests.recipes.django_steps import (
    check_failover,
    check_login_and_logout,
    submit,
    user_of,
    who,
)
from tests.recipes.stand import Browser, Stand

ANN = {"username": NAME, "password": PASSWORD}


def log_in(browser: Browser) -> None:
    """Log in by a consumer that answers HTTP."""
    assert browser.post("/consumer/login", json=ANN).text == "in"


def log_out(browser: Browser) -> None:
    """Log out by Django's view."""
    submit(browser, "/form", to="/logout")


@contextmanager
def socket(browser: Browser) -> Iterator[ClientConnection]:
    """Open a websocket on the node of the browser's cookie."""
    headers = {"Cookie": f"{COOKIE_NAME}={browser.session_cookie}"}
    with connect(f"ws://127.0.0.1:{browser.node.port}/", additional_headers=headers) as made:
        yield made


def ask(made: ClientConnection, **message: Any) -> dict[str, Any]:
    """Send a message, and return the answer."""
    made.send(json.dumps(message))
    answer: dict[str, Any] = json.loads(made.recv(timeout=10))
    return answer


def scenario(stand: Stand) -> None:
    """Log in by a consumer, save in a socket, kill the node under it, go on with another."""
    check_login_and_logout(stand, log_in, log_out)
    check_login_in_socket(stand)
    check_logout_under_socket(stand)
    check_watch(stand)
    browser = stand.browser
    browser.get("/mark?mark=1")
    log_in(browser)
    assert browser.node is stand.one
    with socket(browser) as made:
        assert ask(made) == {"user": NAME, "said": [], "mark": "1"}
        ask(made, save="a")
        browser.get("/mark?mark=2")
        assert ask(made, save="b")["said"] == ["a", "b"]
        assert browser.get("/said").json() == {"said": ["a", "b"]}
        check_failover(stand, browser)
        with pytest.raises(ConnectionClosed):
            ask(made)
    assert who(browser)["mark"] == "2", "a socket has written over what it had not changed"
    with socket(browser) as made:
        assert ask(made, save="c") == {"user": NAME, "said": ["a", "b", "c"], "mark": "2"}


def check_login_in_socket(stand: Stand) -> None:
    """A login in a socket is the socket's: the browser cannot be told the new id."""
    browser = stand.another_browser()
    browser.get("/mark?mark=1")
    planted = browser.session_cookie
    with socket(browser) as made:
        assert ask(made, login=ANN)["user"] == NAME
        assert ask(made, save="a") == {"user": NAME, "said": ["a"], "mark": "1"}
    for node in stand.nodes:
        assert user_of(planted, node) == "", "the id from before the login is logged in"


def check_watch(stand: Stand) -> None:
    """A socket hears of changes by other requests, and of the logout on the other node."""
    browser = stand.another_browser()
    log_in(browser)
    with socket(browser) as made:
        ask(made, watch=True)
        browser.get("/mark?mark=3")
        assert json.loads(made.recv(timeout=10)) == {"changed": ["mark"], "ended": False}
        page = browser.get("/form", on=stand.two)
        browser.post("/logout", on=stand.two, data=browser.hidden_fields(page.text))
        assert json.loads(made.recv(timeout=10))["ended"]


def check_logout_under_socket(stand: Stand) -> None:
    """What a socket saves after the logout brings nothing back."""
    browser = stand.another_browser()
    log_in(browser)
    held = browser.session_cookie
    with socket(browser) as made:
        ask(made, save="a")
        log_out(browser)
        ask(made, save="b")
    for node in stand.nodes:
        assert user_of(held, node) == ""
