"""Signups that wait for a mail, logins that wait for a second factor, sessions ended by rows."""

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

CODE = re.compile(r"^([A-Z0-9]{3,4}-[A-Z0-9]{3,4})\s*$", re.M)
LINK = re.compile(r"http://[^/\s]+(/accounts/confirm-email/\S+)")
SECRET = re.compile(r"""\bvalue=["']([A-Z2-7]{32})["']""")
NEWCOMER = "newcomer"


def log_in(browser: Browser, password: str = PASSWORD) -> None:
    """Log in with e-mail address and password."""
    submit(browser, "/accounts/login/", login=f"{NAME}@example.com", password=password)


def log_out(browser: Browser) -> None:
    """Confirm the page that logs out."""
    submit(browser, "/accounts/logout/")


def sign_up(browser: Browser) -> None:
    """Ask for an account; it can be used once its address is verified."""
    submit(
        browser, "/accounts/signup/", email=f"{NEWCOMER}@example.com", password1=PASSWORD,
        password2=PASSWORD,
    )
    assert who(browser)["user"] == "", "logged in without verification"


def verify(browser: Browser, mails: str) -> None:
    """Do what the mail asks for."""
    if link := LINK.search(mails):
        submit(browser, link[1])
    else:
        code = CODE.search(mails)
        assert code, mails
        submit(browser, "/accounts/confirm-email/", code=code[1])


def add_second_factor(browser: Browser) -> str:
    """Have an authenticator's secret made, and prove to have it. Return the secret."""
    browser.get("/accounts/2fa/totp/activate/")
    page = submit(
        browser, "/accounts/reauthenticate/?next=/accounts/2fa/totp/activate/", password=PASSWORD
    ).text
    found = SECRET.search(page)
    assert found, page
    secret: str = found[1]
    fields = {**browser.hidden_fields(page), "code": totp(secret)}
    reply = browser.post("/accounts/2fa/totp/activate/", data=fields)
    assert reply.status_code == 200
    assert "recovery" in str(reply.url), reply.url
    return secret


def check_rows(browser: Browser, *others: Browser) -> None:
    """The rows of ``allauth.usersessions`` are those of the sessions that live."""
    browser.get("/accounts/sessions/")
    expected = {who(each)["key"] for each in (browser, *others)}
    assert set(browser.get("/rows").json()["keys"]) == expected


def scenario(stand: Stand) -> None:
    """Begin everything on one node, kill it, finish on the other."""
    check_login_and_logout(stand, log_in, log_out)
    browser, second, half_in, newcomer = (stand.another_browser() for _ in range(4))
    for each in (browser, second):
        log_in(each)
    check_rows(browser, second)
    secret = add_second_factor(browser)
    log_in(half_in)
    assert who(half_in)["user"] == ""
    sign_up(newcomer)
    mails = stand.logs()
    check_failover(stand, browser)
    check_rows(browser, second)
    verify(newcomer, mails)
    if who(newcomer)["user"] == "":  # a link only verifies, in this version
        submit(
            newcomer, "/accounts/login/", login=f"{NEWCOMER}@example.com", password=PASSWORD
        )
    check_logged_in(newcomer, NEWCOMER)
    submit(half_in, "/accounts/2fa/authenticate/", code=totp(secret))
    check_logged_in(half_in)
    check_rows(browser, second, half_in)
    submit(browser, "/accounts/sessions/")
    assert [who(each)["user"] for each in (browser, second, half_in)] == [NAME, "", ""]
    check_rows(browser)
    change_password(browser)


def change_password(browser: Browser) -> None:
    """A new password gives the session a new id, and keeps the user."""
    before = who(browser)["key"]
    new = PASSWORD[::-1]
    submit(
        browser, "/accounts/password/change/", oldpassword=PASSWORD, password1=new, password2=new
    )
    check_logged_in(browser)
    assert who(browser)["key"] != before
    check_rows(browser)
