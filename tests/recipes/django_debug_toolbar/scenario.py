"""The panel of the request shows the session, and looking changes nothing."""

import re

from tests.recipes.django_base import NAME, PASSWORD
from tests.recipes.django_steps import check_failover, check_login_and_logout, submit
from tests.recipes.stand import Browser, Stand

REQUEST_ID = re.compile(r'data-request-id="(\w+)"')


def log_in(browser: Browser) -> None:
    """Log in with name and password."""
    submit(browser, "/form", to="/login", username=NAME, password=PASSWORD)


def log_out(browser: Browser) -> None:
    """Log out by Django's view."""
    submit(browser, "/form", to="/logout")


def shown(browser: Browser) -> str:
    """What the toolbar says of a request for a page."""
    page = browser.get("/page")
    request_id = REQUEST_ID.search(page.text)
    assert request_id, page.text[-2000:]
    assert "set-cookie" not in page.headers
    assert "cookie" not in page.headers.get("vary", "").lower(), page.headers
    query = f"request_id={request_id[1]}&panel_id=RequestPanel"
    return str(browser.get(f"/__debug__/render_panel/?{query}").json()["content"])


def scenario(stand: Stand) -> None:
    """Look at the session on one node and on the other."""
    check_login_and_logout(stand, log_in, log_out)
    browser = stand.browser
    browser.get("/mark?mark=a%20mark")
    log_in(browser)
    assert "a mark" in shown(browser)
    check_failover(stand, browser)
    assert "a mark" in shown(browser)
