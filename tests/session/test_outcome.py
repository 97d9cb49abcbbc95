"""The id goes back the way it came: by cookie, by header, or by both while nobody knows."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from clustersession.session.outcome import Outcome, tell
from clustersession.session.visit import Visit


@pytest.mark.parametrize(("by_header", "by_cookie", "outcome"), [
    (False, True, Outcome("id=1; Path=/", vary=True)),
    (True, False, Outcome(None, vary=True, set_header="1")),
    (True, True, Outcome("id=1; Path=/", vary=True, set_header="1")),
])
def test_how_a_client_is_told(by_header: bool, by_cookie: bool, outcome: Outcome) -> None:
    visit: Any = SimpleNamespace(by_header=by_header, by_cookie=by_cookie)
    assert tell(cast(Visit, visit), "id=1; Path=/", "1") == outcome
