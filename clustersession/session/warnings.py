"""Counts what goes wrong without failing a request, and logs it once or now and then."""

import logging
from collections.abc import Callable

from clustersession.core.counters import Counters
from clustersession.core.errors import ReplicationFailed
from clustersession.core.ids import log_name
from clustersession.settings.settings import Settings

_UNDECODABLE_LOGGED_MAX = 1000
_UNCONFIRMED_LOG_INTERVAL_MS = 60_000
_REFUSED_LOG_INTERVAL_MS = 60_000

_log = logging.getLogger("clustersession")


class Warnings:
    """Warns for one manager.

    _undecodable_logged: attributes that the log has named, by session key and name; forgotten all
    at once when there are _UNDECODABLE_LOGGED_MAX.
    _unconfirmed_logged_ms: when the log said last that no peer confirms; once in
    _UNCONFIRMED_LOG_INTERVAL_MS is enough. _refused_logged_ms: the same of sessions not begun.
    """

    def __init__(
        self, settings: Settings, counters: Counters, wall_ms: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._wall_ms = wall_ms
        self._undecodable_logged: set[tuple[str, str]] = set()
        self._unconfirmed_logged_ms = 0
        self._refused_logged_ms = 0

    def undecodable(self, key: str, name: str, error: Exception) -> None:
        """Count and log an attribute that cannot be read; the others survive it."""
        self._counters.decode_errors += 1
        noted = self._undecodable_logged
        if (key, name) in noted:
            return
        if len(noted) >= _UNDECODABLE_LOGGED_MAX:
            noted.clear()
        noted.add((key, name))
        _log.error("session %s: %r cannot be read and is left out: %s", log_name(key), name, error)

    def refused_new_session(self) -> None:
        """Count and log a session that was not begun, because too many others were."""
        self._counters.refused_new_sessions += 1
        now_ms = self._wall_ms()
        if abs(now_ms - self._refused_logged_ms) > _REFUSED_LOG_INTERVAL_MS:
            self._refused_logged_ms = now_ms
            _log.warning(
                "more than new_sessions_per_second_max = %d sessions without a principal begin in "
                "a second; the others are not stored (%d so far)",
                self._settings.new_sessions_per_second_max, self._counters.refused_new_sessions,
            )

    def unconfirmed(self) -> None:
        """Count and log that no peer confirmed. Raises ReplicationFailed if so configured."""
        self._counters.unconfirmed += 1
        now_ms = self._wall_ms()
        if abs(now_ms - self._unconfirmed_logged_ms) > _UNCONFIRMED_LOG_INTERVAL_MS:
            self._unconfirmed_logged_ms = now_ms
            _log.warning(
                "no peer confirmed a session within %g s (%d so far); it is stored on this node; "
                "see clustersession status",
                self._settings.ack_timeout_s, self._counters.unconfirmed,
            )
        if self._settings.ack_failure == "error":
            raise ReplicationFailed(
                f"no peer confirmed the session within {self._settings.ack_timeout_s} s; "
                "it is stored on this node"
            )
