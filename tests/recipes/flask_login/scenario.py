"""A login that gets an id of its own, outlives its node, and ends everywhere."""

from tests.recipes.stand import Stand


def scenario(stand: Stand) -> None:
    """Log in on one node, go on with the other, log out."""
    browser = stand.browser
    assert browser.get("/").text == "nobody"
    assert browser.post("/login", data={"name": "ann"}).text == "in"
    first = browser.session_id
    browser.post("/login", data={"name": "ann"})
    assert browser.session_id != first, "a login makes a new id"
    assert browser.node is stand.one
    stand.kill(stand.one)
    assert browser.get("/").text == "ann"
    assert browser.node is stand.two
    kept = browser.session_cookie
    assert browser.post("/logout").text == "out"
    stand.start(stand.one)
    ended = stand.browser_holding(kept)
    assert ended.get("/", on=stand.one).text == "nobody", "an ended session comes back"
