"""Works out how long a session and its cookie live, from the settings and the session itself."""

from collections.abc import Mapping
from datetime import UTC, datetime

from clustersession.core.clock import wall_ms_of
from clustersession.core.state import (
    ENDED_REPLACED,
    ENDED_ROTATED,
    IDLE_TIMEOUT,
    LIFETIME,
    PRINCIPAL,
    SessionState,
    access_coarseness_ms,
    expires_ms,
    idle_timeout_ms,
)
from clustersession.settings.settings import Settings
from clustersession.wire.values import encode_value

ROTATION_GRACE_MS = 30_000
"""How long after a session got a new id requests may still come that were sent with the old one."""

PERMANENT = "_permanent"
"""The attribute behind ``permanent``: the name Flask uses, visible like there."""

_TRUE = encode_value(True)
_LAST_MS = int(datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()) * 1000


class Lifetimes:
    """Knows the lifetimes that one application's settings give to sessions and to cookies.

    permanent_lifetime_s: idle timeout of sessions made permanent; 0: the same as of others.
    sliding: read-only requests renew a cookie that has a lifetime, at most once in a quarter of it.
    cookies_have_lifetime: the settings give every cookie one; others only if a session asks.
    """

    __slots__ = ("_permanent_lifetime_s", "_settings", "cookies_have_lifetime", "sliding")

    def __init__(
        self, settings: Settings, permanent_lifetime_s: float = 0.0, sliding: bool = True
    ) -> None:
        self._settings = settings
        self._permanent_lifetime_s = permanent_lifetime_s
        self.sliding = sliding
        self.cookies_have_lifetime = settings.cookie_max_age_s > 0

    def idle_timeout_s(self, permanent: bool) -> float:
        """Return the idle timeout of a session that asks for none itself."""
        if permanent and self._permanent_lifetime_s:
            return self._permanent_lifetime_s
        return self._settings.idle_timeout_s

    def deadline_ms(self, system: Mapping[str, bytes], now_ms: int) -> int:
        """Return when a session that begins now with these system registers has to end."""
        lifetime = system.get(LIFETIME)
        if lifetime is not None:
            return now_ms + int(lifetime)
        return now_ms + round(self._settings.effective_absolute_timeout_s * 1000)

    def first_deadline_ms(self, values: Mapping[str, bytes], now_ms: int) -> int:
        """Return when a new session that holds these values has to end.

        Sooner when it is anonymous: anybody can begin those, and what is left of one that has ended
        is kept until its deadline.
        """
        if not self.is_anonymous(values):
            return self.deadline_ms(values, now_ms)
        return now_ms + round(self._settings.effective_anonymous_absolute_timeout_s * 1000)

    def is_anonymous(self, values: Mapping[str, bytes]) -> bool:
        """Tell whether nobody has logged in, and the application asked for no longer life.

        ``permanent`` asks for one by the idle timeout that it gives.
        """
        if PRINCIPAL in values or LIFETIME in values:
            return False
        idle, usual_ms = values.get(IDLE_TIMEOUT), round(self._settings.idle_timeout_s * 1000)
        if idle is None or not idle.isdigit() or not usual_ms:
            return True
        return 0 < int(idle) <= usual_ms

    def outgrows(self, state: SessionState, values: Mapping[str, bytes]) -> bool:
        """Tell whether a session lives as an anonymous one does, and with these values is none.

        Its deadline can only be another one under a new id: no write extends a deadline.
        """
        before = {n: r.value for n, r in state.registers.items() if r.value is not None}
        return (
            state.deadline_ms < self.deadline_ms({}, state.created_ms)
            and PRINCIPAL not in state.registers
            and self.is_anonymous(before)
            and not self.is_anonymous({**before, **values})
        )

    def cookie_lifetime_s(self, state: SessionState | None, now_ms: int) -> int:
        """Return Max-Age of the cookie of a session; 0: until the browser closes."""
        configured_s = self._settings.cookie_max_age_s
        if state is None:
            return configured_s
        own_lifetime = LIFETIME in state.registers
        if not own_lifetime and (configured_s or not is_permanent(state)):
            return configured_s
        idle_ms = idle_timeout_ms(state)
        left_ms = max(state.deadline_ms - now_ms, 1000)
        return (min(idle_ms or left_ms, left_ms) if own_lifetime else idle_ms or left_ms) // 1000

    def renewal_is_due(self, state: SessionState, recorded_ms: int, now_ms: int) -> bool:
        """Tell whether a quarter of the cookie's lifetime began since the access recorded last.

        The access that finds it so is recorded at once, so one request in a quarter answers yes.
        """
        quarter_ms = self.cookie_lifetime_s(state, now_ms) * 250
        if quarter_ms == 0:
            return False
        age_ms, recorded_age_ms = now_ms - state.created_ms, recorded_ms - state.created_ms
        return age_ms // quarter_ms > recorded_age_ms // quarter_ms


def is_permanent(state: SessionState) -> bool:
    """Tell whether a stored session is ``permanent``, without decoding it."""
    register = state.registers.get(PERMANENT)
    return register is not None and register.value == _TRUE


def is_live(state: SessionState | None, now_ms: int) -> bool:
    """Tell whether a copy is neither absent, nor ended, nor expired."""
    return state is not None and state.ended is None and now_ms <= expires_ms(state)


def access_is_stale(state: SessionState, now_ms: int) -> bool:
    """Tell whether the last recorded access is old enough for another one to be recorded."""
    idle_ms = idle_timeout_ms(state)
    return idle_ms > 0 and now_ms - state.accessed_ms >= max(access_coarseness_ms(idle_ms), 1)


def was_just_replaced(state: SessionState, now_ms: int) -> bool:
    """Tell whether a session has made way for one with another id a moment ago.

    Then the answer that names the new one may not have reached the client yet.
    """
    ended = state.ended
    return (
        ended is not None
        and ended.reason in (ENDED_ROTATED, ENDED_REPLACED)
        and abs(now_ms - wall_ms_of(ended.time)) <= ROTATION_GRACE_MS
    )


def may_live_elsewhere(state: SessionState, now_ms: int) -> bool:
    """Tell whether a peer may know of a later access to a session that looks idle-expired here.

    For as long as it may: this node can have been cut off. Once it is swept here peers are asked
    too.
    """
    return state.ended is None and now_ms <= state.deadline_ms


def utc(wall_ms: int) -> datetime:
    """Return a moment in UTC; one beyond the year 9999 as the last that Python has.

    Whoever holds the cluster's secret may put any number of 64 bits into a session.
    """
    return datetime.fromtimestamp(min(max(wall_ms, 0), _LAST_MS) / 1000, UTC)
