"""Sockets that share the browser's session, that copy it, and that have none."""

from tests.recipes.socket_client import SocketClient
from tests.recipes.stand import Stand


def scenario(stand: Stand) -> None:
    """Talk, lose the node, go on with a new socket, log out, talk without a session."""
    browser = stand.browser
    browser.get("/")
    browser.post("/login", data={"name": "ann"})
    socket = SocketClient(browser)
    assert socket.call("say", "one") == {"user": "ann", "said": ["one"]}
    assert browser.get("/").json() == {"user": "ann", "said": ["one"]}
    copy = SocketClient(browser, "/copying.io/")
    assert copy.call("say", "mine") == {"user": "ann", "said": ["one", "mine"]}
    assert copy.call("say", "too") == {"user": "ann", "said": ["one", "mine", "too"]}
    assert socket.call("say", "two") == {"user": "ann", "said": ["one", "two"]}

    assert browser.node is stand.one
    stand.kill(stand.one)
    assert browser.get("/").json() == {"user": "ann", "said": ["one", "two"]}
    assert browser.node is stand.two
    socket = SocketClient(browser)
    assert socket.call("say", "three") == {"user": "ann", "said": ["one", "two", "three"]}
    kept = browser.session_cookie
    browser.post("/logout")
    assert socket.call("say", "late")["user"] is None, "a socket outlives the logout"
    ended = stand.browser_holding(kept)
    assert ended.get("/").json() == {"user": None, "said": []}, "an ended session comes back"

    stranger = stand.another_browser()
    socket = SocketClient(stranger)
    assert socket.call("say", "who?") == {"user": None, "said": ["who?"]}
    assert socket.call("say", "hello?") == {"user": None, "said": ["hello?"]}, "nothing is stored"
    assert stranger.session_cookie is None
