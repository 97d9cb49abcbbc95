"""An administrator's login, which outlives its node and ends everywhere."""

from tests.recipes.stand import Stand


def scenario(stand: Stand) -> None:
    """Log in, with a wrong password first, lose the node, log out."""
    browser = stand.browser
    browser.get("/")
    planted = browser.session_cookie
    assert browser.get("/admin/").url.path == "/admin/login"
    form = browser.get("/admin/login").text
    wrong = {**browser.hidden_fields(form), "username": "root", "password": "wrong"}
    assert browser.post("/admin/login", data=wrong).status_code == 400
    assert browser.session_cookie == planted
    browser.post("/admin/login", data={**wrong, "password": "right"})
    assert browser.session_cookie != planted, "a login makes a new id"
    assert browser.get("/").json() == {"admin": "root", "principal": "root"}
    assert stand.browser_holding(planted).get("/").json()["admin"] is None
    assert browser.node is stand.one
    stand.kill(stand.one)
    page = browser.get("/admin/")
    assert page.url.path == "/admin/"
    assert browser.node is stand.two
    kept = browser.session_cookie
    browser.post("/admin/logout", data=browser.hidden_fields(page.text))
    assert browser.get("/").json() == {"admin": None, "principal": None}
    ended = stand.browser_holding(kept)
    assert ended.get("/admin/").url.path == "/admin/login", "an ended session comes back"
