"""Steps that the scenarios of Django's libraries share."""

import base64
import hmac
import struct
import time
from collections.abc import Callable
from typing import Any

import httpx

from clustersession.tools.demo.nodes import COOKIE_NAME, Node
from clustersession.tools.demo.processes import wait_for
from tests.recipes.django_base import NAME
from tests.recipes.stand import Browser, Stand

Step = Callable[[Browser], object]


def submit(browser: Browser, path: str, *, to: str = "", **fields: str) -> httpx.Response:
    """Fill in the form of a page as a browser does, hidden fields included, and send it."""
    page = browser.get(path)
    assert page.status_code == 200, f"{path}: {page.status_code}"
    reply = browser.post(to or path, data={**browser.hidden_fields(page.text), **fields})
    assert reply.status_code == 200, f"after {to or path}: {reply.status_code} {reply.text[:2000]}"
    return reply


def who(browser: Browser) -> dict[str, Any]:
    """What the node of the browser's cookie says of its user."""
    found: dict[str, Any] = browser.get("/").json()
    return found


def user_of(cookie: str | None, node: Node) -> str:
    """Whom a node takes the holder of a cookie for; empty for nobody."""
    reply = httpx.get(f"http://127.0.0.1:{node.port}/", cookies={COOKIE_NAME: cookie or ""})
    return str(reply.json()["user"])


def totp(secret: str, ahead_s: int = 0) -> str:
    """What an authenticator shows (RFC 6238), now or a little later."""
    counter = struct.pack(">Q", int(time.time() + ahead_s) // 30)
    digest = hmac.digest(base64.b32decode(secret), counter, "sha1")
    (value,) = struct.unpack_from(">I", digest, digest[-1] & 15)
    return f"{(value & 0x7FFFFFFF) % 10**6:06}"


def check_login_and_logout(stand: Stand, log_in: Step, log_out: Step, name: str = NAME) -> None:
    """A login makes a new id and names the user; a logout ends the session on both nodes."""
    browser = stand.another_browser()
    browser.get("/mark?mark=1")
    planted = browser.session_cookie
    assert planted
    log_in(browser)
    check_logged_in(browser, name)
    held = browser.session_cookie
    for node in stand.nodes:
        assert user_of(planted, node) == "", "the id from before the login is logged in"
        assert user_of(held, node) == name
    log_out(browser)
    for node in stand.nodes:
        assert user_of(held, node) == "", f"a logout has not ended the session on {node.route}"
    assert who(browser)["user"] == ""


def check_logged_in(browser: Browser, name: str = NAME) -> None:
    """The browser's user is this one, the session belongs to them, and the cookie has a route."""
    found = who(browser)
    assert found["user"] == name, found
    assert found["principal"] == found["id"], "the session belongs to nobody"
    assert found["sessions"] >= 1, "sessions_of does not find it"
    assert str(browser.session_cookie).endswith(f".{browser.node.route}"), browser.session_cookie


def check_failover(stand: Stand, browser: Browser, name: str = NAME) -> None:
    """The user goes on as themselves, under the same session_key, when their node is killed."""
    before = who(browser)
    assert before["user"] == name, before
    served = browser.node
    stand.kill(served)
    assert browser.node is not served
    after = who(browser)
    assert {**after, "sessions": 0} == {**before, "sessions": 0}
    # With a store a death is noticed by silence only, and until then the cookie stays as it is.
    wait_for(lambda: _route_after_a_request(browser) == browser.node.route, "a new route")


def _route_after_a_request(browser: Browser) -> str:
    who(browser)
    return str(browser.session_cookie).partition(".")[2]
