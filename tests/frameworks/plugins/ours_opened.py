"""pytest plugin: records for each test how often it opened a session of ours."""

from collections.abc import Iterator
from typing import Any

import pytest

from clustersession.session.manager import SessionManager

_opened = 0


def pytest_configure(config: pytest.Config) -> None:
    """Count what every adapter calls, once per request."""
    original = SessionManager.open

    def counting(self: SessionManager, *arguments: Any, **keywords: Any) -> Any:
        global _opened
        _opened += 1
        return original(self, *arguments, **keywords)

    SessionManager.open = counting  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Start at nothing, and note the name that pytest selects the test by."""
    global _opened
    _opened = 0
    item.user_properties.append(("id", item.nodeid))
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note the count in the test's record."""
    try:
        return (yield)
    finally:
        item.user_properties.append(("opened", _opened))
