"""The example apps on one node, under each server: every page and endpoint they offer."""

import pytest

from clustersession.tools.demo.scenario import Browser
from tests.balancers.conftest import MakeNode, MakeNodes
from tests.support import apps

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]

MAKERS: list[MakeNode] = [
    apps.fastapi_under_uvicorn, apps.fastapi_under_gunicorn,
    apps.flask_under_gunicorn, apps.flask_over_ajp,
]


@pytest.mark.parametrize("make_node", MAKERS, ids=lambda make: make.__name__)
def test_a_visit_from_first_page_to_logout(make_node: MakeNode, make_nodes: MakeNodes) -> None:
    browser = Browser(make_nodes(make_node)[0].direct_port)
    assert browser.get("/api/session").body["data"] == {}
    assert browser.cookie is None, "reading makes no session"

    browser.post("/api/set", {"key": "color", "value": "blue"})
    before_login = browser.identifier
    assert browser.route == "tomcat1"
    for _ in range(3):
        browser.post("/api/append", {"key": "cart", "value": "tea"})
    assert [browser.post("/api/count").body["count"] for _ in range(10)] == list(range(1, 11))
    assert browser.get("/").status == 200

    browser.post("/api/login", {"user": "somebody"})
    assert browser.identifier != before_login, "login changes the id"
    browser.post("/api/slow", {"key": "late", "value": 1, "seconds": 0.05})
    assert browser.get("/api/get?key=late").body["value"] == 1
    assert browser.get("/api/session").body["data"] == {
        "color": "blue", "cart": ["tea"] * 3, "count": 10, "visits": 1, "user": "somebody",
        "late": 1,
    }
    old = Browser(browser.port, f"{before_login}.tomcat1")
    assert old.get("/api/session").body["data"] == {}, "the id from before the login has ended"

    kept = browser.cookie
    browser.post("/api/logout")
    assert Browser(browser.port, kept).get("/api/session").body["data"] == {}
