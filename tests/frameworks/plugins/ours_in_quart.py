"""pytest plugin: every Quart application of Quart's own tests gets our session interface."""

from typing import Any

import pytest
import quart
from quart.testing import WebsocketResponseError

from clustersession.quart import ClusterSession, ClusterSessionInterface

_made: list[quart.Quart] = []


def pytest_configure(config: pytest.Config) -> None:
    """Put ours in the place of the default."""
    # What these tests, which are older than the Quart they run on, call by another name.
    quart.testing.WebsocketResponse = WebsocketResponseError  # type: ignore[attr-defined]
    original = quart.Quart.__init__

    def with_ours(self: quart.Quart, *arguments: Any, **keywords: Any) -> None:
        original(self, *arguments, **keywords)
        ClusterSession(self)
        _made.append(self)

    quart.Quart.__init__ = with_ours  # type: ignore[method-assign]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Each test begins with nothing open."""
    while _made:
        interface: Any = _made.pop().session_interface
        if isinstance(interface, ClusterSessionInterface) and interface._runtime is not None:
            interface._runtime.close()
