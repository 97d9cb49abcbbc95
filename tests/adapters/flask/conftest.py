"""Applications are closed after each test."""

from collections.abc import Iterator

import pytest

from tests.adapters.flask.app import made


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    while made:
        app = made.pop()
        app.session_interface.runtime(app).close()  # type: ignore[attr-defined]
