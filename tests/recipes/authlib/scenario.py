"""The node dies while the user is at the provider; the other one takes the answer."""

from httpx import URL

from tests.recipes.stand import Browser, Stand


def scenario(stand: Stand) -> None:
    """Go to the provider from one node, come back to the other; log out."""
    browsers = {area: stand.another_browser() for area in ("/starlette", "/flask")}
    left_at = {area: leave(browser, area) for area, browser in browsers.items()}
    before = {area: browser.session_cookie for area, browser in browsers.items()}
    assert all(browser.node is stand.one for browser in browsers.values())
    stand.kill(stand.one)
    for area, browser in browsers.items():
        state = left_at[area].params["state"]
        stranger = stand.another_browser()
        assert come_back(stranger, area, state) == 400, "a state belongs to one browser"
        assert come_back(browser, area, "made up") == 400
        assert come_back(browser, area, state) == 200
        assert browser.node is stand.two
        assert browser.get(area).json() == {"names": ["user"], "principal": "ann"}, area
        assert browser.session_cookie != before[area], "a login makes a new id"
        assert come_back(browser, area, state) == 400, "an answer counts once"
        users = browser.session_cookie
        browser.post(f"{area}/logout")
        ended = stand.browser_holding(users)
        assert ended.get(area).json() == {"names": [], "principal": None}, area


def leave(browser: Browser, area: str) -> URL:
    """Begin a login; returns where the browser is sent."""
    reply = browser.get(f"{area}/login", follow=False)
    assert reply.status_code == 302, reply
    return URL(reply.headers["location"])


def come_back(browser: Browser, area: str, state: str) -> int:
    """Call the callback as the provider's redirect does."""
    return browser.get(f"{area}/callback", params={"code": "ann", "state": state}).status_code
