"""Wizards whose steps are answered by two nodes."""

import re

from tests.recipes.django_base import NAME, PASSWORD
from tests.recipes.django_steps import (
    check_failover,
    check_logged_in,
    check_login_and_logout,
    submit,
    totp,
    who,
)
from tests.recipes.stand import Browser, Stand

LOGIN, SETUP = "/account/login/", "/account/two_factor/setup/"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
NEW_SECRET = re.compile(r">([A-Z2-7]{32})</a>")


def first_step(browser: Browser, name: str = NAME) -> str:
    """Give name and password; return the next page."""
    return submit(browser, LOGIN, **{
        "auth-username": name, "auth-password": PASSWORD, "login_view-current_step": "auth",
    }).text


def second_step(browser: Browser, page: str, *, ahead_s: int = 0) -> None:
    """Give the token."""
    fields = browser.hidden_fields(page)
    assert fields["login_view-current_step"] == "token", page
    browser.post(LOGIN, data={**fields, "token-otp_token": totp(SECRET, ahead_s)})


def log_in(browser: Browser) -> None:
    """Log in in two steps."""
    second_step(browser, first_step(browser))


def log_out(browser: Browser) -> None:
    """Log out by Django's view."""
    submit(browser, "/form", to="/logout")


def scenario(stand: Stand) -> None:
    """Kill the node between the steps of a login and of a setup."""
    check_login_and_logout(stand, log_in, log_out)
    browser, between, sets_up = stand.browser, stand.another_browser(), stand.another_browser()
    # A token can be used once: this is the next one, which the device takes too.
    second_step(browser, first_step(browser), ahead_s=30)
    assert browser.get("/verified").text == "default"
    login_page = first_step(between, "in two steps")
    assert who(between)["user"] == ""
    first_step(sets_up, "without device")
    page = submit(sets_up, SETUP, **{"setup_view-current_step": "welcome"}).text
    secret = NEW_SECRET.search(page)
    assert secret, page
    check_failover(stand, browser)
    assert browser.get("/verified").text == "default"
    second_step(between, login_page)
    check_logged_in(between, "in two steps")
    fields = {**sets_up.hidden_fields(page), "generator-token": totp(secret[1])}
    assert "complete" in str(sets_up.post(SETUP, data=fields).url)
    assert sets_up.get("/verified").text == "default"
