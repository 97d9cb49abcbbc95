"""pytest plugin: Pyramid's tests of its cookie sessions make ours, with the arguments of theirs.

What says how the data is kept in the cookie is left away. Nothing answers the requests of these
tests, so each is answered when its test is over, and what it has stored is committed.
"""

from typing import Any

import pytest
from pyramid import session
from pyramid.response import Response

from clustersession.pyramid import ClusterSessionFactory

_NAMES = {"timeout": "idle_timeout_s", "secure": "cookie_secure", "httponly": "cookie_httponly"}
_OF_THE_COOKIE = {
    "serializer", "reissue_time", "hashalg", "salt", "set_on_exception", "timestamp",
}
_made: list[ClusterSessionFactory] = []
_requests: list[Any] = []


class _Remembering(ClusterSessionFactory):
    def __call__(self, request: Any) -> Any:
        _requests.append(request)
        return super().__call__(request)


def _ours(*_: Any, secret: str = "", **options: Any) -> ClusterSessionFactory:
    given = {_NAMES.get(n, n): v for n, v in options.items() if n not in _OF_THE_COOKIE}
    factory = _Remembering(**given)
    _made.append(factory)
    return factory


session.BaseCookieSessionFactory = session.SignedCookieSessionFactory = _ours


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Each test begins with nothing open, and its requests have had their answer."""
    while _requests:
        request = _requests.pop()
        request._process_response_callbacks(Response())
        request._process_finished_callbacks()
    while _made:
        _made.pop().runtime.close()
