"""What the moved clock does to the sessions of a test, and that it does so to no others."""

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from freezegun import freeze_time

from clustersession.settings.sources import TEST_STATE_DIR_VARIABLE
from clustersession.testing import moved_clock, session_for
from clustersession.testing.isolation import close_all
from clustersession.worker import run_of_tests
from clustersession.worker.run_of_tests import CONFIGURED
from clustersession.wsgi import ClusterSessionMiddleware


def make(**options: object) -> ClusterSessionMiddleware:
    return ClusterSessionMiddleware(lambda environ, start: [], distributable=True, **options)


def values(app: ClusterSessionMiddleware, cookie: str) -> dict[str, object]:
    manager = app.runtime.manager()
    visit = manager.open((cookie,))
    found = dict(visit.session.items())
    manager.commit(visit)
    return found


def test_an_idle_session_expires_and_is_removed_without_waiting() -> None:
    app = make()
    with moved_clock() as clock:
        cookie = session_for(app, {"user": 1}).value
        replica = app.runtime.manager().replica
        clock.advance(minutes=29)
        assert values(app, cookie) == {"user": 1}
        clock.advance(minutes=29)
        assert values(app, cookie) == {"user": 1}, "the access was recorded"
        assert replica.keys("", 10)
        clock.advance(minutes=32)
        assert replica.keys("", 10) == []
        assert values(app, cookie) == {}


def test_a_lifetime_ends_however_busy_the_user_is() -> None:
    app = make(absolute_timeout_s=3600)
    with moved_clock() as clock:
        cookie = session_for(app, {"user": 1}).value
        for _ in range(3):
            clock.advance(minutes=19)
            assert values(app, cookie) == {"user": 1}
        clock.advance(minutes=19)
        assert values(app, cookie) == {}


def test_an_open_request_keeps_its_session() -> None:
    app = make()
    with moved_clock() as clock:
        cookie = session_for(app, {"user": 1}).value
        manager = app.runtime.manager()
        visit = manager.open((cookie,))
        manager.open_visits.add(visit)
        clock.advance(hours=5)
        manager.close(visit)
        assert values(app, cookie) == {"user": 1}


def test_more_expired_sessions_than_one_sweep_takes_are_removed() -> None:
    app = make()
    with moved_clock() as clock:
        for number in range(250):
            session_for(app, {"n": number})
        clock.advance(hours=1)
        assert app.runtime.manager().replica.keys("", 10) == []


def test_afterwards_time_and_revocations_are_undone() -> None:
    app = make()
    with moved_clock() as clock:
        session_for(app, {"user": 1}, principal=1)
        clock.advance(days=400)
        assert clock.now() > datetime.now(UTC)
        app.runtime.sessions().end_all(1)
    cookie = session_for(app, {"user": 1}, principal=1).value
    assert values(app, cookie) == {"user": 1}
    with moved_clock() as clock:
        assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 60


def test_a_clock_that_was_not_moved_leaves_sessions_where_they_are() -> None:
    app = make()
    cookie = session_for(app, {"user": 1}).value
    with moved_clock():
        pass
    assert values(app, cookie) == {"user": 1}


def test_a_block_within_another_goes_back_to_the_outer_ones_time() -> None:
    with moved_clock() as outer:
        outer.advance(days=2)
        with moved_clock() as inner:
            inner.advance(days=1)
        assert (outer.now() - datetime.now(UTC)).days in (1, 2)
    with moved_clock() as clock:
        assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 60


def test_tests_that_move_the_clock_do_not_fill_the_disk(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_of_tests, "_round", 0)
    used, app = make(), make()
    for number in range(4):
        with moved_clock() as clock:
            session_for(app, {"user": 1})
            clock.advance(days=1)
            if number == 1:
                used_by_another = os.open(next(place.glob("round-*[1-9]")), os.O_RDONLY)
                fcntl.flock(used_by_another, fcntl.LOCK_SH)
    cookie = session_for(used, {"user": 1}).value
    os.close(used_by_another)
    assert values(used, cookie) == {"user": 1}
    assert len(list(place.glob("round-*"))) == 3, "the first, that of another, and this"


def test_what_a_former_run_left_in_a_kept_directory_is_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TEST_STATE_DIR_VARIABLE, str(tmp_path / "kept"))
    app, sessions = make(), []
    for _ in range(2):
        monkeypatch.setattr(run_of_tests, "_round", 0)
        with moved_clock() as clock:
            clock.advance(days=1)
        sessions.append(session_for(app, {"user": 1}, principal=1))
        close_all()
    found = app.runtime.sessions().sessions_of(1)
    assert len(found) == 1
    close_all()
    run_of_tests.remove(tmp_path / "kept")


def test_it_adds_to_a_frozen_clock() -> None:
    app = make()
    with moved_clock() as clock, freeze_time("2090-01-01") as frozen:
        cookie = session_for(app, {"user": 1}).value
        assert clock.now().year == 2090
        frozen.tick(60 * 20)
        clock.advance(minutes=5)
        assert values(app, cookie) == {"user": 1}
        frozen.tick(60 * 20)
        clock.advance(minutes=12)
        assert values(app, cookie) == {}


def test_it_does_not_go_back() -> None:
    with moved_clock() as clock, pytest.raises(ValueError, match="only goes forward"):
        clock.advance(minutes=-1)


def test_it_is_refused_where_nodes_are_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TEST_STATE_DIR_VARIABLE, CONFIGURED)
    with pytest.raises(RuntimeError, match="where tests keep their sessions apart"):
        with moved_clock():
            pass
