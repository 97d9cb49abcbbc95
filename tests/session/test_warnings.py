"""What goes wrong is counted each time, and logged so seldom that a log can be read."""

import logging

import pytest

from clustersession.core.counters import Counters
from clustersession.core.errors import ReplicationFailed
from clustersession.session import warnings as module
from clustersession.session.warnings import Warnings
from clustersession.settings.settings import Settings

KEY = "1" + "a" * 22


class Clock:
    now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


def made(clock: Clock, **settings: object) -> tuple[Warnings, Counters]:
    counters = Counters()
    return Warnings(Settings(**settings), counters, clock), counters  # type: ignore[arg-type]


def test_an_unreadable_attribute_is_named_once_and_its_session_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    warnings, counters = made(Clock())
    for _ in range(5):
        warnings.undecodable(KEY, "cart", ValueError("cut short"))
    warnings.undecodable(KEY, "user", ValueError("cut short"))
    assert counters.decode_errors == 6
    assert [("'cart'" in r.getMessage(), "'user'" in r.getMessage()) for r in caplog.records] == [
        (True, False), (False, True)
    ]
    assert KEY not in caplog.text


def test_what_was_named_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_UNDECODABLE_LOGGED_MAX", 10)
    warnings, counters = made(Clock())
    for number in range(100):
        warnings.undecodable(KEY, f"name{number}", ValueError("cut short"))
    assert counters.decode_errors == 100
    assert len(warnings._undecodable_logged) <= 10


def test_unconfirmed_writes_are_a_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    clock = Clock()
    warnings, counters = made(clock)
    for _ in range(2):
        for _ in range(10):
            warnings.unconfirmed()
        clock.now_ms += 61_000
    assert counters.unconfirmed == 20
    assert ["(1 so far)" in r.getMessage() for r in caplog.records] == [True, False]
    assert "(11 so far)" in caplog.text


def test_beside_a_store_it_is_the_store_that_has_not_confirmed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    warnings, _ = made(Clock(), distributable=True, store="valkey://db")
    warnings.unconfirmed()
    assert caplog.messages[0].startswith("the store has not confirmed a session within 1 s")


def test_an_application_that_asked_for_errors_gets_each_one() -> None:
    warnings, counters = made(Clock(), ack_failure="error")
    for _ in range(3):
        with pytest.raises(ReplicationFailed, match="stored on this node"):
            warnings.unconfirmed()
    assert counters.unconfirmed == 3
