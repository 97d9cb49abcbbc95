"""pytest plugin: Starlette's tests find our middleware under the name of theirs.

With the defaults of Starlette's, which its tests rely on: the cookie's name and its lifetime.
"""

from typing import Any

import pytest
import starlette.middleware.sessions as theirs

from clustersession.asgi import ClusterSessionMiddleware

_made: list["SessionMiddleware"] = []


class SessionMiddleware(ClusterSessionMiddleware):
    """Ours, closed at the end of the test."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **{"session_cookie": "session", "max_age": 14 * 86_400, **options})
        _made.append(self)


def pytest_configure(config: pytest.Config) -> None:
    """Before the tests import it."""
    theirs.SessionMiddleware = SessionMiddleware  # type: ignore[assignment,misc]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Each test begins with nothing open."""
    while _made:
        _made.pop().runtime.close()
