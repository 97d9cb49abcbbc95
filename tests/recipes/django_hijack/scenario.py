"""A session that belongs to whom it acts for, over the death of a node, and back."""

from tests.recipes.django_base import NAME, PASSWORD
from tests.recipes.django_steps import (
    check_failover,
    check_logged_in,
    check_login_and_logout,
    submit,
)
from tests.recipes.stand import Browser, Stand


def log_in(browser: Browser, name: str = NAME) -> None:
    """Log in with name and password."""
    submit(browser, "/form", to="/login", username=name, password=PASSWORD)


def log_out(browser: Browser) -> None:
    """Log out by Django's view."""
    submit(browser, "/form", to="/logout")


def scenario(stand: Stand) -> None:
    """Act as a customer, go on on the other node, come back as oneself."""
    check_login_and_logout(stand, log_in, log_out)
    browser, customer = stand.browser, stand.another_browser()
    log_in(customer, "customer")
    customers_id = customer.get("/").json()["id"]
    log_in(browser)
    own = browser.session_id
    submit(browser, "/form", to="/hijack/acquire/", user_pk=customers_id)
    check_logged_in(browser, "customer")
    assert browser.session_id != own
    check_failover(stand, browser, "customer")
    submit(browser, "/form", to="/hijack/release/")
    check_logged_in(browser, NAME)
    check_logged_in(customer, "customer")
