"""The interface knows its user, and its events write to the user's session."""

from tests.recipes.stand import Browser, Stand


def scenario(stand: Stand) -> None:
    """Be refused, log in, ask, lose the node, ask the other, log out."""
    browser = stand.browser
    browser.get("/")
    assert browser.get("/ui/").status_code == 401
    planted = browser.session_cookie
    browser.post("/login", data={"name": "ann"})
    assert browser.session_cookie != planted, "a login makes a new id"
    assert browser.get("/ui/").status_code == 200
    assert "ann asked 1: why" in answer(browser, "why")
    assert browser.node is stand.one
    stand.kill(stand.one)
    assert browser.get("/").json() == {"user": "ann", "asked": 1}
    assert browser.node is stand.two
    assert "ann asked 2: how" in answer(browser, "how")
    kept = browser.session_cookie
    browser.post("/logout")
    assert browser.get("/ui/").status_code == 401
    assert stand.browser_holding(kept).get("/ui/").status_code == 401, "an ended session comes back"


def answer(browser: Browser, question: str) -> str:
    """Send an event and read the stream with its result."""
    reply = browser.post("/ui/gradio_api/call/ask", json={"data": [question]})
    assert reply.status_code == 200, reply.text
    return browser.get(f"/ui/gradio_api/call/ask/{reply.json()['event_id']}").text
