"""A script that knows its user, on both nodes."""

import re

from websockets.sync.client import connect

from tests.recipes.stand import Browser, Stand

RERUN = b"\x5a\x00"
"""The message BackMsg with an empty ``rerun_script``: a page that has been opened."""

SHOWN = re.compile(rb"user=(\w+)\.")
MESSAGES_MAX = 100


def scenario(stand: Stand) -> None:
    """Log in, lose the node, log out."""
    browser = stand.browser
    assert shown(browser) == "None"
    browser.post("/login", data={"name": "bob"})
    planted = browser.session_cookie
    browser.post("/login", data={"name": "ann"})
    assert browser.session_cookie != planted, "a login makes a new id"
    assert (found := shown(browser)) == "ann", found
    assert browser.node is stand.one
    stand.kill(stand.one)
    assert (found := shown(browser)) == "ann", found
    assert browser.node is stand.two
    kept = browser.session_cookie
    browser.post("/logout")
    assert shown(browser) == "None"
    assert shown(stand.browser_holding(kept)) == "None", "an ended session comes back"


def shown(browser: Browser) -> str:
    """Open the page's websocket, with a header that lies, and read what the script shows."""
    headers = {"X-Session-User": "liar"}
    if browser.session_cookie:
        headers["Cookie"] = f"CLUSTERSESSION={browser.session_cookie}"
    url = f"ws://127.0.0.1:{browser.node.port}/_stcore/stream"
    with connect(url, additional_headers=headers, proxy=None) as socket:
        socket.send(RERUN)
        for _ in range(MESSAGES_MAX):
            message = socket.recv(timeout=20)
            assert isinstance(message, bytes)
            if found := SHOWN.search(message):
                return found[1].decode()
    raise AssertionError("the page does not say who its user is")
