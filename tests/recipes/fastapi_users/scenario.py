"""A login that gets an id of its own, outlives its node, and ends everywhere."""

from tests.recipes.stand import Stand

NOBODY = {"user": None, "is_theirs": False}
ANN = {"user": "ann@example.org", "is_theirs": True}


def scenario(stand: Stand) -> None:
    """Log in, with a wrong password first, lose the node, log out."""
    browser = stand.browser
    assert browser.get("/").json() == NOBODY
    planted = browser.session_cookie
    wrong = {"username": "ann@example.org", "password": "wrong"}
    assert browser.post("/auth/login", data=wrong).status_code == 400
    assert browser.session_cookie == planted
    assert browser.post("/auth/login", data={**wrong, "password": "right"}).status_code == 204
    assert browser.session_cookie != planted, "a login makes a new id"
    assert browser.get("/").json() == ANN
    assert stand.browser_holding(planted).get("/").json() == NOBODY
    assert browser.node is stand.one
    stand.kill(stand.one)
    assert browser.get("/").json() == ANN
    assert browser.node is stand.two
    kept = browser.session_cookie
    assert browser.post("/auth/logout").status_code == 204
    assert browser.get("/").json() == NOBODY
    ended = stand.browser_holding(kept)
    assert ended.get("/").json() == NOBODY, "an ended session comes back"
