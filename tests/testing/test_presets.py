"""Sessions that are there before a test begins."""

from typing import Any

import pytest

from clustersession.core.errors import UnserializableValue
from clustersession.testing import session_for
from clustersession.wsgi import ClusterSessionMiddleware


def make() -> ClusterSessionMiddleware:
    def app(environ: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK", [])
        return []

    return ClusterSessionMiddleware(app, distributable=True)


def test_it_is_stored_with_its_user_and_named_by_its_cookie() -> None:
    app = make()
    preset = session_for(app, {"cart": ["tea"]}, principal=7)
    assert preset.cookies == {"CLUSTERSESSION": preset.value}
    assert preset.header == f"CLUSTERSESSION={preset.value}"
    assert preset.value.partition(".")[0] == preset.sid
    manager = app.runtime.manager()
    assert manager.open((preset.value,)).session["cart"] == ["tea"]
    assert [view.principal for view in manager.sessions().sessions_of(7)] == ["7"]


def test_each_call_is_another_session_and_one_may_be_empty() -> None:
    app = make()
    first, second = session_for(app), session_for(app)
    assert first.sid != second.sid
    assert app.runtime.manager().open((second.value,)).identifier == second.sid


def test_what_cannot_be_stored_is_refused() -> None:
    with pytest.raises(UnserializableValue):
        session_for(make(), {"file": object()})


def test_what_has_no_sessions_of_ours_is_refused() -> None:
    with pytest.raises(LookupError, match="has no sessions of clustersession"):
        session_for(object())
