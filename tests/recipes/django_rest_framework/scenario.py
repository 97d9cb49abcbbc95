"""The browsable API's login, SessionAuthentication with its CSRF check, a node that dies."""

from tests.recipes.django_base import NAME, PASSWORD
from tests.recipes.django_steps import check_failover, check_login_and_logout, submit
from tests.recipes.stand import Browser, Stand


def log_in(browser: Browser) -> None:
    """Log in by the form of the browsable API."""
    submit(browser, "/api-auth/login/?next=/", username=NAME, password=PASSWORD)


def log_out(browser: Browser) -> None:
    """Press the browsable API's logout."""
    page = browser.get("/cart", headers={"Accept": "text/html"})
    reply = browser.post("/api-auth/logout/?next=/", data=browser.hidden_fields(page.text))
    assert reply.status_code == 200


def scenario(stand: Stand) -> None:
    """Log in, put something into the cart, go on with the other node."""
    check_login_and_logout(stand, log_in, log_out)
    browser = stand.browser
    assert browser.get("/cart").status_code == 403
    log_in(browser)
    assert browser.post("/cart", json={"item": "tea"}).status_code == 403, "without its token"
    token = {"X-CSRFToken": str(browser.client.cookies.get("csrftoken"))}
    reply = browser.post("/cart", json={"item": "tea"}, headers=token)
    assert reply.json() == {"user": NAME, "cart": ["tea"]}
    check_failover(stand, browser)
    reply = browser.post("/cart", json={"item": "milk"}, headers=token)
    assert reply.json() == {"user": NAME, "cart": ["tea", "milk"]}
