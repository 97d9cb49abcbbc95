"""Clicks are counted, and one that fails is told."""

from typing import Any

import pytest

from clustersession.tools.demo.clicks import Clicks
from clustersession.tools.demo.processes import StepFailed, wait_for
from clustersession.tools.demo.scenario import Browser, Reply


class Page(Browser):
    """A browser before an application that keeps a session until ``broken`` says how not."""

    broken: Reply | None = None
    session: dict[str, Any]

    def __init__(self) -> None:
        super().__init__(0, "id.tomcat1")
        object.__setattr__(self, "session", {})

    def get(self, path: str) -> Reply:
        return self.broken or Reply(200, {"data": dict(self.session)}, None)

    def post(self, path: str, content: dict[str, Any] | None = None) -> Reply:
        assert content is not None
        self.session[content["key"]] = content["value"]
        return self.get(path)


def test_each_click_is_a_write_and_a_read_of_it() -> None:
    page = Page()
    with Clicks(page) as clicks:
        clicks.go_on(3)
    assert clicks.reads == clicks.writes == page.session["clicks"] >= 3
    assert clicks.failed == []


@pytest.mark.parametrize("broken", [
    Reply(502, {}, None), Reply(200, {"data": {}}, None), Reply(200, {"data": {"clicks": 1}}, None),
])
def test_an_error_and_a_session_that_is_not_the_users_are_failures(broken: Reply) -> None:
    page = Page()
    with Clicks(page) as clicks:
        clicks.go_on(2)
        object.__setattr__(page, "broken", broken)
        wait_for(lambda: clicks.failed, "a failure")
        with pytest.raises(StepFailed, match=f"a click failed: status {broken.status}"):
            clicks.go_on(1)
