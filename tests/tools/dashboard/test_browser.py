"""A person with a browser watches a node die, finds out about a session, and ends it.

With DASHBOARD_PICTURES=DIRECTORY the pictures of the documentation are taken again.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from clustersession.core.ids import log_name
from clustersession.tools.demo.nodes import Node
from tests.support.apps import fastapi_under_uvicorn
from tests.support.chromium import Browser, chromium
from tests.support.processes import require_programs, wait_for
from tests.system.client import agent_status, get, new_session
from tests.system.conftest import StartNodes
from tests.tools.dashboard.running import running_dashboard

pytestmark = [pytest.mark.system, pytest.mark.extended, pytest.mark.timeout(180)]

PICTURES = os.environ.get("DASHBOARD_PICTURES", "")
WIDE, PHONE = {"width": 1180, "height": 1080}, {"width": 390, "height": 844}


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    require_programs("chromium", "chromedriver")
    with chromium(tmp_path) as started:
        yield started


def picture(browser: Browser, name: str, **looks: object) -> None:
    if PICTURES:
        browser.looks(**looks)  # type: ignore[arg-type]
        browser.run("window.scrollTo(0, 0)")
        browser.screenshot(Path(PICTURES) / f"{name}.png")


def overflows(browser: Browser) -> bool:
    """Whether a person would have to scroll sideways."""
    return bool(browser.run(
        "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
    ))


def test_a_failover_as_it_happens_and_a_session_explained(
    start_nodes: StartNodes, browser: Browser, tmp_path: Path
) -> None:
    nodes: list[Node] = start_nodes(fastapi_under_uvicorn, "tomcat1", "tomcat2", "tomcat3")
    first, second, third = nodes
    for node, count in zip(nodes, (3, 2, 2), strict=True):
        for number in range(count):
            cookie = new_session(node, user=f"ann{number}", cart=["tea"])
    with running_dashboard(first, tmp_path) as (link, _):
        browser.looks(**WIDE)
        browser.open(link)
        browser.run("window.unchanged = true")
        assert "token=" not in browser.run("return location.href")
        wait_for(lambda: "All nodes are there" in browser.text("#summary"), "the page to be live")
        wait_for(lambda: "live" in browser.text("#live-state"), "the stream")
        for looks in (WIDE, PHONE):
            for dark in (False, True):
                browser.looks(**looks, dark=dark)
                assert not overflows(browser), (looks, dark)
                drawn = "svg.wide" if looks is WIDE else "svg.upright"
                visible = "return document.querySelector(arguments[0]).getClientRects().length"
                assert browser.run(visible, drawn) == 1
        picture(browser, "dashboard-healthy", **WIDE)
        picture(browser, "dashboard-phone-light", **PHONE, scale=2)
        browser.looks(**WIDE)

        third.kill()
        wait_for(lambda: "tomcat3 is lost" in browser.text("#summary"), "the loss on the page")
        wait_for(lambda: "member lost: tomcat3" in browser.text("#timeline"), "its line")
        # Shapes and words say it, not only colour.
        assert browser.run("return document.querySelectorAll('svg.wide .node.dead .cross').length")
        assert "dead" in browser.text("#nodes")
        assert browser.run("return window.unchanged"), "the page was loaded anew"
        picture(browser, "dashboard-failover", **WIDE)
        picture(browser, "dashboard-failover-dark", **WIDE, dark=True)
        picture(browser, "dashboard-phone", **PHONE, dark=True, scale=2)
        picture(browser, "dashboard-phone-whole", width=390, height=3200)
        browser.looks(**WIDE)
        third.start()
        get(third, "/api/whoami")
        wait_for(lambda: "All nodes are there" in browser.text("#summary"), "the node to be back")
        assert "member added: tomcat3" in browser.text("#timeline")

        browser.type("#id", cookie)
        browser.click("form[action$='/find'] button")
        wait_for(lambda: "Live until" in browser.text("#main"), "the explanation")
        shown = browser.text("#main")
        assert f"Session {log_name(cookie[:23])}" in shown
        assert cookie[:23] not in browser.run("return document.documentElement.outerHTML")
        assert cookie[:23] not in browser.run("return location.href")
        assert "list of 1" in shown
        assert "tea" not in shown
        for node in nodes:
            assert node.route in shown
        picture(browser, "dashboard-session", **WIDE)
        browser.click("form[action$='/end'] input[name=sure]")
        browser.click("form[action$='/end'] button")
        wait_for(lambda: "1 session ended" in browser.text("#main"), "the end")
        assert get(second, "/api/session", cookie).data["data"] == {}
        assert browser.complaints() == []


def test_an_agent_that_hangs_is_told_and_the_page_comes_back(
    start_nodes: StartNodes, browser: Browser, tmp_path: Path
) -> None:
    (node,) = start_nodes(fastapi_under_uvicorn, "tomcat1")
    agent = agent_status(node)["agent_pid"]
    with running_dashboard(node, tmp_path) as (link, _):
        browser.open(link)
        wait_for(lambda: "alone" in browser.text("#summary"), "the page to be live")
        os.kill(agent, signal.SIGSTOP)
        try:
            wait_for(lambda: "does not answer" in browser.text("#summary"), "the hang", 30.0)
        finally:
            os.kill(agent, signal.SIGCONT)
        wait_for(lambda: "alone" in browser.text("#summary"), "the agent to answer again", 30.0)
        # Not all processes with the node's environment: the dashboard is one of them.
        for pid in (node.program.pid, agent):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: "has no agent" in browser.text("#summary"), "the node's end", 30.0)
        assert "no agent" in browser.text("#figures")


def test_it_can_be_used_without_scripts_and_by_keyboard(
    start_nodes: StartNodes, browser: Browser, tmp_path: Path
) -> None:
    (node,) = start_nodes(fastapi_under_uvicorn, "tomcat1")
    cookie = new_session(node, user="ann")
    with running_dashboard(node, tmp_path) as (link, _):
        browser.open(link)
        assert browser.run("return document.querySelectorAll('noscript').length") == 1
        for selector in ("a", "button", "input:not([type=hidden])"):
            reachable = (
                "return [...document.querySelectorAll(arguments[0])].every(e => e.tabIndex >= 0)"
            )
            assert browser.run(reachable, selector)
        browser.without_script()
        browser.open(link.partition("enter")[0])
        browser.type("#id", f"{cookie}\ue007")
        name = log_name(cookie[:23])
        wait_for(lambda: f"Session {name}" in browser.title(), "the answer to the Enter key")


