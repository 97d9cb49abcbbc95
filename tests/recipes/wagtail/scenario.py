"""The admin's login, and a preview that another node shows."""

from tests.recipes.django_base import NAME, PASSWORD
from tests.recipes.django_steps import check_failover, check_login_and_logout, submit
from tests.recipes.stand import Browser, Stand

NOTES = "/admin/snippets/notes/note/"


def log_in(browser: Browser) -> None:
    """Log in to the admin."""
    submit(browser, "/admin/login/", username=NAME, password=PASSWORD, next="/")


def log_out(browser: Browser) -> None:
    """Log out of the admin."""
    submit(browser, "/form", to="/admin/logout/")


def scenario(stand: Stand) -> None:
    """Fill in a form, kill the node, look at the preview."""
    check_login_and_logout(stand, log_in, log_out)
    browser = stand.browser
    log_in(browser)
    assert submit(browser, f"{NOTES}add/", to=f"{NOTES}preview/", text="a draft").json()["is_valid"]
    check_failover(stand, browser)
    assert browser.get(f"{NOTES}preview/").text == "a draft"
    submit(browser, f"{NOTES}add/", text="published")
    assert "published" in browser.get(NOTES).text
