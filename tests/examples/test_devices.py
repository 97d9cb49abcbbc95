"""The page "Your devices" of the examples, on two nodes: who lists and ends what on which."""

import re
import urllib.error

import pytest

from clustersession.tools.demo.nodes import Node, make_node, uvicorn_command
from clustersession.tools.demo.processes import wait_for
from tests.examples.browser import Browser
from tests.support.apps import ROOT, gunicorn_command
from tests.system.conftest import StartNodes

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)
EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/137.0.0.0 Safari/537.36 Edg/137.0.0.0"
)
HANDLE = re.compile(r'name="handle" value="([0-9a-f]{32})"')

EXAMPLES = {
    "django_app": gunicorn_command("-w", "1"),
    "fastapi_app": uvicorn_command("app:app"),
    "flask_app": gunicorn_command("-w", "1"),
}


def row_of(page: str, device: str) -> str:
    """The part of the list that is about one device."""
    (row,) = [row for row in page.split("<tr>") if device in row]
    return row


@pytest.mark.parametrize("example", EXAMPLES)
def test_your_devices(start_nodes: StartNodes, example: str) -> None:
    first, second = start_nodes(
        lambda route, directory, ports: make_node(
            route, directory, ports, EXAMPLES[example], app_directory=ROOT / "examples" / example
        ),
        "tomcat1", "tomcat2",
    )  # fmt: skip
    laptop, phone, office, bob = (Browser(agent) for agent in (LINUX, PHONE, EDGE, LINUX))

    def log_in(browser: Browser, user: str, node: Node) -> None:
        browser.get(node, "/")
        assert f"Welcome, {user}" in browser.post(node, "/login", user=user)

    def is_in(browser: Browser, node: Node) -> bool:
        return "Welcome, ann" in browser.get(node, "/")

    assert "Welcome, stranger" in Browser().get(first, "/devices"), "who is not logged in sees none"
    log_in(laptop, "ann", first)
    log_in(phone, "ann", second)
    log_in(bob, "bob", second)
    page = laptop.get(first, "/devices")
    assert "this one" in row_of(page, "Firefox on Linux")
    assert "this one" not in row_of(page, "Safari on iPhone")
    assert page.count("this one") == 1
    assert "this one" in row_of(phone.get(second, "/devices"), "Safari on iPhone")

    for wrong in ({"csrf": "x", "csrfmiddlewaretoken": "x"}, {"handle": "deadbeef"}):
        with pytest.raises(urllib.error.HTTPError, match=r"HTTP Error 40[03]"):
            laptop.post(first, "/devices/end", **{"handle": HANDLE.findall(page)[0], **wrong})
    bob.get(second, "/devices")
    bob.post(second, "/devices/end", handle=HANDLE.findall(page)[0])
    assert is_in(phone, second), "nobody ends what is another user's"

    listed = laptop.post(first, "/devices/end", handle=HANDLE.findall(page)[0])
    assert "Safari on iPhone" not in listed
    wait_for(lambda: not is_in(phone, second), "the phone to be logged out on its own node")

    log_in(phone, "ann", second)
    log_in(office, "ann", second)
    page = laptop.get(first, "/devices")
    assert "this one" not in row_of(page, "Safari on iPhone") + row_of(page, "Edge on Windows")
    listed = laptop.post(first, "/devices/end-others")
    assert "Firefox on Linux" in listed
    assert not HANDLE.findall(listed)
    for gone in (phone, office):
        wait_for(lambda b=gone: not is_in(b, second), "the others to be out")  # type: ignore[misc]
    assert is_in(laptop, first)
    assert is_in(laptop, second)
    assert "Welcome, bob" in bob.get(first, "/")
