"""A block of code is kept apart from every live node."""

import os
from pathlib import Path

import pytest

from clustersession.settings.sources import TEST_STATE_DIR_VARIABLE
from clustersession.testing import isolated, session_for
from clustersession.worker import run_of_tests, secret
from clustersession.wsgi import ClusterSessionMiddleware


def test_each_block_begins_with_no_sessions_and_leaves_nothing(place: Path) -> None:
    app = ClusterSessionMiddleware(lambda environ, start: [], distributable=True)
    before = session_for(app, {"user": 1}).value
    with isolated() as inner:
        assert inner != place
        assert os.environ[TEST_STATE_DIR_VARIABLE] == str(inner)
        manager = app.runtime.manager()
        assert manager.open((before,)).state is None
        assert not manager.settings.distributable, "a test has no peers"
    assert not inner.exists()
    assert os.environ[TEST_STATE_DIR_VARIABLE] == str(place)
    assert app.runtime.manager().open((before,)).state is not None


def test_two_state_directories_stay_two(tmp_path: Path) -> None:
    apps = [
        ClusterSessionMiddleware(lambda environ, start: [], state_dir=str(tmp_path / name))
        for name in ("one", "two", "one")
    ]
    cookie = session_for(apps[0], {"user": 1}).value
    found = [app.runtime.manager().open((cookie,)).state is not None for app in apps]
    assert found == [True, False, True]
    assert not list(tmp_path.iterdir())


def test_nothing_is_said_of_peers_and_secrets_that_tests_do_not_have(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_of_tests, "_is_pytest", lambda: False)
    monkeypatch.setattr(secret, "_warned", set())
    app = ClusterSessionMiddleware(
        lambda environ, start: [], distributable=True, secret_key="the key of a developer"
    )
    with isolated():
        session_for(app)
    assert caplog.messages == []
