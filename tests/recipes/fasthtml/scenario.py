"""A login that gets an id of its own, outlives its node, and ends everywhere."""

from tests.recipes.stand import Stand


def scenario(stand: Stand) -> None:
    """Log in, lose the node, log out."""
    browser = stand.browser
    assert "user=None visits=1" in browser.get("/").text
    planted = browser.session_cookie
    reply = browser.post("/login", data={"name": "ann"})
    assert "user=ann visits=2" in reply.text, reply.text
    assert browser.session_cookie != planted, "a login makes a new id"
    assert [cookie.name for cookie in browser.client.cookies.jar] == ["CLUSTERSESSION"]
    assert browser.node is stand.one
    stand.kill(stand.one)
    assert "user=ann visits=3" in browser.get("/").text
    assert browser.node is stand.two
    kept = browser.session_cookie
    assert "user=None visits=1" in browser.post("/logout").text
    ended = stand.browser_holding(kept)
    assert "user=None visits=1" in ended.get("/").text, "an ended session comes back"
