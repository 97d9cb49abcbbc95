"""Counts what goes wrong without failing a request, and logs it once or now and then."""

import logging
from collections.abc import Callable

from clustersession.core.counters import Counters
from clustersession.core.errors import ReplicationFailed
from clustersession.core.ids import log_name
from clustersession.settings.settings import Settings

_UNDECODABLE_LOGGED_MAX = 1000
_LOG_INTERVAL_MS = 60_000

_log = logging.getLogger("clustersession")


class Warnings:
    """Warns for one manager.

    _undecodable_logged: attributes that the log has named, by session key and name; forgotten all
    at once when there are _UNDECODABLE_LOGGED_MAX.
    _logged_ms: when the log said last what goes wrong again and again, by its counter; once in
    _LOG_INTERVAL_MS is enough.
    """

    def __init__(
        self, settings: Settings, counters: Counters, wall_ms: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._wall_ms = wall_ms
        self._undecodable_logged: set[tuple[str, str]] = set()
        self._logged_ms: dict[str, int] = {}

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
        if self._is_due("refused_new_sessions"):
            _log.warning(
                "more than new_sessions_per_second_max = %d sessions without a principal begin in "
                "a second; the others are not stored (%d so far)",
                self._settings.new_sessions_per_second_max, self._counters.refused_new_sessions,
            )

    def unconfirmed(self) -> None:
        """Count and log that no peer confirmed. Raises ReplicationFailed if so configured."""
        self._counters.unconfirmed += 1
        text = (
            "the store has not confirmed a session within %g s"
            if self._settings.store else "no peer confirmed a session within %g s"
        ) % self._settings.ack_timeout_s
        if self._is_due("unconfirmed"):
            _log.warning(
                "%s (%d so far); it is stored on this node; see clustersession status",
                text, self._counters.unconfirmed,
            )
        if self._settings.ack_failure == "error":
            raise ReplicationFailed(f"{text}; it is stored on this node")

    def _is_due(self, what: str) -> bool:
        now_ms = self._wall_ms()
        # Of a clock that was set back no pause is longer.
        due = abs(now_ms - self._logged_ms.get(what, 0)) > _LOG_INTERVAL_MS
        if due:
            self._logged_ms[what] = now_ms
        return due
