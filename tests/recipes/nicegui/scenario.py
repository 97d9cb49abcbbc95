"""A user's page, built anew by the other node, with what its events have stored."""

import re

from clustersession.tools.demo.processes import wait_for
from tests.recipes.socket_client import SocketClient
from tests.recipes.stand import Browser, Stand

CLIENT = re.compile(r"'client_id': '([^']+)'")
BUTTON = re.compile(r'"(\d+)":\{"tag":"q-btn".*?"listener_id":"([^"]+)"')
SHOWN = re.compile(r"\b(user|cart|clicks|browser)=([^ \"]+)")


def scenario(stand: Stand) -> None:
    """Log in, click, lose the node, click on the other, log out."""
    browser = stand.browser
    assert shown(browser)["user"] == "None"
    planted = browser.session_cookie
    browser.post("/login", data={"name": "ann"})
    assert browser.session_cookie != planted, "a login makes a new id"
    page = Page(browser)
    page.click()
    wait_for(lambda: shown(browser)["cart"] == "1", "a click to be stored")
    before = shown(browser)
    assert before["clicks"] == "1"
    assert browser.node is stand.one
    stand.kill(stand.one)

    after = shown(browser)
    assert browser.node is stand.two
    assert after == {**before, "clicks": "None"}, "app.storage.user is in a file of its node"
    page, other_tab = Page(browser), Page(browser)
    page.click()
    other_tab.click()
    wait_for(lambda: shown(browser)["cart"] == "3", "clicks in two tabs to be stored")
    kept = browser.session_cookie
    browser.post("/logout")
    other_tab.click()
    assert shown(browser)["user"] == "None"
    assert shown(stand.browser_holding(kept))["user"] == "None", "an ended session comes back"


def shown(browser: Browser) -> dict[str, str]:
    """Read what the page says."""
    return dict(SHOWN.findall(browser.get("/").text))


class Page:
    """The page in a tab of a browser, with its socket."""

    def __init__(self, browser: Browser) -> None:
        text = browser.get("/").text
        client, button = CLIENT.search(text), BUTTON.search(text)
        assert client, text
        assert button, text
        self._client = client[1]
        self._element, self._listener = button.groups()
        self._socket = SocketClient(
            browser, "/_nicegui_ws/socket.io/", client_id=self._client, next_message_id="0",
            implicit_handshake="true", tab_id="a-tab", document_id="a-document",
        )

    def click(self) -> None:
        """Click its button."""
        self._socket.emit("event", {
            "id": int(self._element), "client_id": self._client, "listener_id": self._listener,
            "args": [],
        })
