"""A login with a form, a password that is changed on the other node, and the end everywhere."""

from tests.recipes.stand import Browser, Stand


def scenario(stand: Stand) -> None:
    """Log in, lose the node, change the password by the form from before, end all sessions."""
    browser, other = stand.browser, stand.another_browser()
    form = browser.get("/login").text
    planted = browser.session_cookie
    log_in(browser, form)
    assert browser.session_cookie != planted, "a login makes a new id"
    assert stand.browser_holding(planted).get("/").text == "nobody", "a planted id shares the login"
    log_in(other, other.get("/login").text)
    assert browser.get("/account").json() == {"is_theirs": True, "devices": 2}

    form = browser.get("/change").text
    assert browser.node is stand.one
    stand.kill(stand.one)
    assert browser.get("/").text == "ann@example.org"
    assert browser.node is stand.two
    fields = {
        **browser.hidden_fields(form), "password": "the password of ann",
        "new_password": "a quite new one", "new_password_confirm": "a quite new one",
    }
    reply = browser.post("/change", data=fields)
    assert browser.get("/account").json() == {"is_theirs": True, "devices": 1}, reply.text
    assert other.get("/").text == "nobody", "a new password ends what the old one began"

    log_in(other, other.get("/login").text, "a quite new one", remember=True)
    other.client.cookies.delete("CLUSTERSESSION")
    assert other.get("/account").json() == {"is_theirs": True, "devices": 2}
    assert browser.post("/everywhere").text == "out"
    for each in (browser, other):
        assert each.get("/").text == "nobody", each.client.cookies

    log_in(browser, browser.get("/login").text, "a quite new one")
    kept = browser.session_cookie
    reply = browser.post("/logout")
    assert browser.get("/").text == "nobody", (reply, browser.client.cookies)
    stand.start(stand.one)
    for node in stand.nodes:
        ended = stand.browser_holding(kept)
        assert ended.get("/", on=node).text == "nobody", "an ended session comes back"


def log_in(
    browser: Browser, form: str, password: str = "the password of ann", *, remember: bool = False
) -> None:
    """Send the form of the login."""
    fields = {**browser.hidden_fields(form), "email": "ann@example.org", "password": password}
    if not remember:
        fields.pop("remember", None)  # a box that is not checked
    browser.post("/login", data=fields)
    assert browser.get("/").text == "ann@example.org"
