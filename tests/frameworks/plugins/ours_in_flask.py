"""pytest plugin: every Flask application of Flask's own tests gets our session interface.

Those tests change the configuration between two requests. Ours is read once, so a change counts as
a restart of the process here.
"""

from typing import Any

import flask
import pytest
from flask.sessions import SecureCookieSessionInterface

from clustersession.flask import ClusterSession, ClusterSessionInterface
from clustersession.session.events import Events
from clustersession.worker.runtime import Runtime

_made: list["Restarting"] = []


class Restarting(ClusterSessionInterface):
    """Our interface, which notices that its application was configured anew."""

    read_from: str = ""

    def runtime(self, app: flask.Flask) -> Runtime:
        """The runtime for what the configuration says now."""
        read_from = repr(sorted(app.config.items(), key=str))
        if read_from != self.read_from:
            self.close()
            self.read_from = read_from
        return super().runtime(app)

    def close(self) -> None:
        """Let go of the store, as at the end of a process."""
        if self._runtime is not None:
            self._runtime.close()
            self._runtime = None


def pytest_configure(config: pytest.Config) -> None:
    """Put ours in the place of the default, not of what a test brings itself."""
    original = flask.Flask.__init__

    def with_ours(self: flask.Flask, *arguments: Any, **keywords: Any) -> None:
        original(self, *arguments, **keywords)
        if type(self.session_interface) is SecureCookieSessionInterface:
            ClusterSession(self)
            self.session_interface = interface = Restarting({}, Events())
            _made.append(interface)

    flask.Flask.__init__ = with_ours  # type: ignore[method-assign]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Each test begins with nothing open."""
    while _made:
        _made.pop().close()
