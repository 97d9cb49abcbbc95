"""Two admin areas beside a user's session: neither takes it away, and the shared one lives on."""

from tests.recipes.stand import Stand

RIGHT = {"username": "root", "password": "right"}


def scenario(stand: Stand) -> None:
    """Be a user and an administrator, lose the node, log out."""
    browser = stand.browser
    browser.post("/login/ann")
    users = browser.session_cookie
    ann = {"user": "ann", "principal": "ann"}
    for area in ("/admin", "/shared"):
        # What a stranger's picture or link does.
        assert browser.get(f"{area}/login").status_code == 200
        assert browser.get(area).url.path == f"{area}/login"
        assert browser.get("/").json() == ann, area
    browser.post("/admin/login", data=RIGHT)
    assert browser.get("/admin/product/list").url.path == "/admin/product/list"
    assert browser.get("/").json() == ann
    assert browser.session_cookie == users, "an admin area's own login is none of ours"

    admin = stand.another_browser()
    admin.get("/")
    admin.post("/login/bob")
    planted = admin.session_cookie
    admin.post("/shared/login", data={**RIGHT, "password": "wrong"})
    assert admin.session_cookie == planted
    admin.post("/shared/login", data=RIGHT)
    assert admin.session_cookie != planted, "a login makes a new id"
    assert admin.get("/").json() == {"user": "bob", "principal": "root"}

    assert browser.node is stand.one
    stand.kill(stand.one)
    assert browser.get("/").json() == ann
    assert browser.get("/admin/product/list").url.path == "/admin/product/list"
    assert browser.node is stand.two
    assert admin.get("/shared").url.path == "/shared/"
    kept = admin.session_cookie
    browser.get("/admin/logout")
    assert browser.get("/admin").url.path == "/admin/login"
    assert browser.get("/").json() == ann
    admin.get("/shared/logout")
    ended = stand.browser_holding(kept)
    assert ended.get("/shared").url.path == "/shared/login", "an ended session comes back"
