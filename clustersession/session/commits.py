"""Turns what a request did to its session into replica commits."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from clustersession.core.counters import Counters
from clustersession.core.errors import (
    ReplicaFull,
    SessionError,
    SessionTooLarge,
    TooManySessions,
)
from clustersession.core.ids import KEY_LENGTH
from clustersession.core.state import (
    ENDED_INVALIDATED,
    ENDED_LIMIT,
    ENDED_ROTATED,
    IDLE_TIMEOUT,
    LIFETIME,
    LOGIN,
    PRINCIPAL,
    Change,
    Creation,
    SessionState,
    access_coarseness_ms,
    encode_ms,
    idle_timeout_ms,
    login_time,
)
from clustersession.replica.replica import Replica
from clustersession.replica.results import Committed
from clustersession.session.changes import Changes
from clustersession.session.events import Events, commit_with_events
from clustersession.session.exchange import exchange
from clustersession.session.local_attributes import LocalAttributes, stays_here
from clustersession.session.registers import is_live, stored_values, with_system
from clustersession.session.session import PERMANENT, Session
from clustersession.session.stored import stored_attributes
from clustersession.session.token import RANDOM_BYTES, IdSigner, log_name
from clustersession.settings.settings import Settings

_log = logging.getLogger("clustersession")

FULL_LOG_INTERVAL_MS = 10_000
OWED_ENDS_MAX = 10_000


@dataclass(slots=True)
class SessionWriter:
    """Writes sessions of one node. ``sliding``: read-only requests renew a persistent cookie."""

    settings: Settings
    replica: Replica
    signer: IdSigner
    counters: Counters
    wall_ms: Callable[[], int]
    random_bytes: Callable[[int], bytes]
    idle_timeout_s_for: Callable[[bool], float]
    ring: Callable[[int], None]
    events: Events
    sliding: bool = True
    local: LocalAttributes = field(init=False)
    _full_logged_ms: int = field(default=-FULL_LOG_INTERVAL_MS)
    _owed_ends: dict[str, Change] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.local = LocalAttributes(self.settings.local_attributes)

    def write(self, session: Session) -> int:
        """Commit what changed; returns the feed head to confirm, 0 for nothing to wait for.

        Raises UnserializableValue or SessionTooLarge; then nothing was written, and nothing of this
        session will be: the error page that follows must not fail on the same value again.
        """
        now_ms = self.wall_ms()
        if self._owed_ends:
            self._settle(now_ms)
        if session.discarded:
            return 0
        if not session.touched:
            return self._touch(session, now_ms)
        try:
            changes = session.find_changes()
            if session.key is None:
                return self._create(session, changes, now_ms)
            if session.exchanging and not session.sealed:
                return exchange(self, session, changes, now_ms)
            if session.rotating and not session.sealed:
                return self._rotate(session, changes, now_ms)
            if session.rotating:
                _log.warning("session.rotate() came after the response had started: no new id")
            if not changes and not session.system:
                return self._touch(session, now_ms)
            return self._update(session, changes, now_ms)
        except SessionError:
            session.discarded = True
            raise

    @property
    def owes_ends(self) -> bool:
        """Whether any session is such a one."""
        return bool(self._owed_ends)

    def may_renew(self, session: Session) -> bool:
        """Whether the session's cookie has a lifetime that a read-only request may renew."""
        return self.sliding and self.cookie_lifetime_s(session) > 0

    def owes_end(self, key: str) -> bool:
        """Whether this process ended the session, but there was no space to store that."""
        return key in self._owed_ends

    def cookie_lifetime_s(self, session: Session) -> int:
        """Max-Age of the session's cookie; 0: until the browser closes."""
        state = session.state
        configured_s = self.settings.cookie_max_age_s
        if state is None:
            return configured_s
        own_lifetime = LIFETIME in state.registers
        if not own_lifetime and (configured_s or not session.stored_permanent):
            return configured_s
        idle_ms = idle_timeout_ms(state)
        left_ms = max(state.deadline_ms - self.wall_ms(), 1000)
        return (min(idle_ms or left_ms, left_ms) if own_lifetime else idle_ms or left_ms) // 1000

    def _touch(self, session: Session, now_ms: int) -> int:
        """Record the access if the recorded one is too old; nobody waits for it."""
        state, key = session.state, session.key
        if state is None or key is None:
            return 0
        idle_ms = idle_timeout_ms(state)
        stale = idle_ms > 0 and now_ms - state.accessed_ms >= max(access_coarseness_ms(idle_ms), 1)
        refresh = (
            self.sliding
            and not session.sealed
            and self._refresh_due(session, state, now_ms)
        )
        if not stale and not refresh:
            return 0
        committed = self.commit([Change(key, now_ms)], now_ms)
        if committed is None:
            return 0
        newer = committed.states[0]
        if newer is None:
            session.discarded = True
            return 0
        self.counters.touches += 1
        session.replace_state(newer)
        session.refresh |= refresh
        self.ring(committed.head)
        return 0

    def _refresh_due(self, session: Session, state: SessionState, now_ms: int) -> bool:
        """Whether a quarter of the cookie's lifetime began since the recorded access.

        The access that finds it so is recorded at once, so one request in a quarter answers yes.
        """
        quarter_ms = self.cookie_lifetime_s(session) * 250
        if quarter_ms == 0:
            return False
        age_ms, recorded_ms = now_ms - state.created_ms, state.accessed_ms - state.created_ms
        return age_ms // quarter_ms > recorded_ms // quarter_ms

    def _create(self, session: Session, changes: Changes, now_ms: int) -> int:
        ends = [Change(key, now_ms, end=ENDED_INVALIDATED) for key in session.endings]
        system = {name: data for name, data in session.system.items() if data is not None}
        holds_something = (
            session.wanted
            or any(name != PERMANENT for name in changes.sets)
            or any(name not in (IDLE_TIMEOUT, LIFETIME) for name in system)
        )
        if holds_something and session.sealed:
            self.counters.late_new_sessions += 1
            _log.warning(
                "a new session was begun after the response had started; no cookie could be sent, "
                "so it is not stored"
            )
            holds_something = False
        if not holds_something:
            if ends and (committed := self.commit(ends, now_ms)) is not None:
                session.endings = ()
                return committed.head if committed.effective else 0
            return 0
        permanent = PERMANENT in changes.sets and bool(session.get(PERMANENT))
        idle = system.pop(IDLE_TIMEOUT, None)
        idle_ms = int(idle) if idle else round(self.idle_timeout_s_for(permanent) * 1000)
        creation = Creation(now_ms, self.deadline_ms(system, now_ms), idle_ms)
        sets = {**changes.sets, **system}
        ends += self._over_limit(session, now_ms)
        if self.local.any:
            sets, _ = self.local.place(sets, (), {})
        self.check_size(sets, {}, ())
        identifier, key = self._mint()
        committed = self.commit([*ends, Change(key, now_ms, sets, creation=creation)], now_ms)
        if committed is None:
            # There is no cookie to send; once the response has gone, there never will be.
            session.discarded = True
            return 0
        state = committed.states[-1]
        if state is None:
            return 0
        session.endings = ()
        session.committed(identifier, key, state, changes)
        return committed.head

    def _update(self, session: Session, changes: Changes, now_ms: int) -> int:
        key, identifier, before = session.key, session.sid, session.state
        assert key is not None
        assert identifier is not None
        assert before is not None
        sets, deletes = with_system(session, changes)
        local = self.local.any or session.holds_local
        if local:
            sets, deletes = self.local.place(sets, deletes, before.registers)
        # More than enough when nothing is replaced: most sessions are far below the limit.
        at_most = stored_attributes(before).data_bytes
        at_most += sum([len(name) + len(data) for name, data in sets.items()])
        if at_most > self.settings.session_bytes_max:
            self.check_size(sets, stored_values(before), deletes)
        ends = [Change(ended, now_ms, end=ENDED_INVALIDATED) for ended in session.endings]
        ends += self._over_limit(session, now_ms)
        committed = self.commit([*ends, Change(key, now_ms, sets, deletes)], now_ms)
        if committed is None:
            return 0
        state = committed.states[-1]
        if state is None:
            self.lose(session, key)
            return 0
        session.endings = ()
        session.committed(identifier, key, state, changes)
        lifetime_changed = PERMANENT in sets or PERMANENT in deletes or IDLE_TIMEOUT in sets
        session.refresh |= lifetime_changed or self._refresh_due(session, before, now_ms)
        if local and not ends and stays_here(sets, deletes):
            self.ring(committed.head)
            return 0
        return committed.head

    def _rotate(self, session: Session, changes: Changes, now_ms: int) -> int:
        """Move to a new id. Creation time and deadline stay: rotating extends no session's life."""
        key = session.key
        assert key is not None
        # Read again: what other requests wrote since this one began must move too.
        current = self.replica.get(key)
        if session.stands_for_record and session.sid and not is_live(current, now_ms):
            # Another request with the same old cookie came first.
            key = session.sid[:KEY_LENGTH]
            current = self.replica.get(key)
        if current is None or not is_live(current, now_ms):
            self.lose(session, key)
            return 0
        changed, deletes = with_system(session, changes)
        if self.local.any or session.holds_local:
            changed, deletes = self.local.place(changed, deletes, current.registers)
        sets = {**stored_values(current), **changed}
        for name in deletes:
            sets.pop(name, None)
        if PRINCIPAL in sets and PRINCIPAL not in changed:
            sets[LOGIN] = encode_ms(login_time(current))
        idle = sets.pop(IDLE_TIMEOUT, None)
        deadline_ms = current.deadline_ms
        if LIFETIME in changed:
            deadline_ms = self.deadline_ms(changed, now_ms)
        creation = Creation(current.created_ms, deadline_ms, int(idle) if idle else 0)
        ends = self._over_limit(session, now_ms)
        self.check_size(sets, {}, ())
        identifier, new_key = self._mint()
        committed = self.commit(
            [
                Change(new_key, now_ms, sets, creation=creation),
                Change(key, now_ms, end=ENDED_ROTATED),
                *ends,
            ],
            now_ms,
        )
        if committed is None:
            # Written later, when there is room, the login would come under the old id.
            session.discarded = True
            return 0
        state, ended = committed.states[:2]
        if ended is None or state is None:
            # Another process ended the session after we read it. Logout wins.
            self.commit([Change(new_key, now_ms, end=ENDED_INVALIDATED)], now_ms)
            self.lose(session, key)
            return 0
        session.committed(identifier, new_key, state, changes)
        return committed.head

    def deadline_ms(self, system: Mapping[str, bytes], now_ms: int) -> int:
        """When a session that begins now has to end."""
        lifetime = system.get(LIFETIME)
        if lifetime is not None:
            return now_ms + int(lifetime)
        return now_ms + round(self.settings.effective_absolute_timeout_s * 1000)

    def _over_limit(self, session: Session, now_ms: int) -> list[Change]:
        """What a login beyond the user's limit ends: the oldest logins. Raises TooManySessions.

        Judged by what this node knows: logins at the same moment may all pass, and the next one
        ends what is too many.
        """
        limit, principal = self.settings.sessions_per_principal_max, session.system.get(PRINCIPAL)
        if not limit or principal is None:
            return []
        others = [
            (login_time(state), key)
            for key, state in self.replica.sessions_of(principal.decode("utf-8", "replace"))
            if key != session.key and key not in session.endings and is_live(state, now_ms)
        ]
        surplus = len(others) + 1 - limit
        if surplus <= 0:
            return []
        if self.settings.sessions_per_principal_policy == "refuse":
            raise TooManySessions(
                f"the user has {len(others)} sessions; sessions_per_principal_max is {limit}"
            )
        return [Change(key, now_ms, end=ENDED_LIMIT) for _, key in sorted(others)[:surplus]]

    def _mint(self) -> tuple[str, str]:
        identifier = self.signer.mint(self.random_bytes(RANDOM_BYTES))
        key = self.signer.key_of(identifier)
        assert key is not None
        return identifier, key

    def lose(self, session: Session, key: str) -> None:
        """Count that the session ended under a request; it writes nothing more."""
        session.discarded = True
        self.counters.lost_writes += 1
        _log.info("session %s ended during a request that wrote to it; dropped", log_name(key))

    def check_size(
        self, sets: dict[str, bytes], stored: dict[str, bytes], deletes: tuple[str, ...]
    ) -> None:
        """Raises SessionTooLarge."""
        after = {**stored, **sets}
        total = sum(len(n) + len(data) for n, data in after.items() if n not in deletes)
        if total > self.settings.session_bytes_max:
            raise SessionTooLarge(
                f"the session takes {total} bytes; session_bytes_max is "
                f"{self.settings.session_bytes_max}"
            )

    def commit(self, changes: Sequence[Change], now_ms: int) -> Committed | None:
        """The commit, or None when there is no space: then the request goes on without it."""
        try:
            committed = commit_with_events(self.replica, self.events, changes, now_ms)
        except ReplicaFull as error:
            self.counters.replica_full += 1
            if now_ms - self._full_logged_ms >= FULL_LOG_INTERVAL_MS:
                self._full_logged_ms = now_ms
                _log.error(
                    "no space for sessions, changes are not stored (%d so far): %s",
                    self.counters.replica_full, error,
                )
            self._save_ends(changes, now_ms)
            return None
        if committed.effective:
            self.counters.commits += 1
        return committed

    def _save_ends(self, changes: Sequence[Change], now_ms: int) -> None:
        """Without what came with them they may fit: the replica keeps some space for that."""
        ends = [change for change in changes if change.end == ENDED_INVALIDATED]
        if len(ends) == len(changes):
            for change in ends:
                self._owe(change)
        elif ends and (committed := self.commit(ends, now_ms)) is not None:
            self.ring(committed.head)

    def _owe(self, change: Change) -> None:
        """A user who has logged out relies on it: unlike other changes it is not let go of."""
        if change.key in self._owed_ends or len(self._owed_ends) >= OWED_ENDS_MAX:
            return
        self._owed_ends[change.key] = change
        _log.error(
            "no space to store that session %s was ended: other processes and nodes still accept "
            "it; tried again at each request to this process", log_name(change.key),
        )

    def _settle(self, now_ms: int) -> None:
        """Store the ends owed, one at a time: where there is no space for all, some may fit."""
        for change in list(self._owed_ends.values()):
            committed = self.commit([change], now_ms)
            if committed is None:
                return
            self._owed_ends.pop(change.key, None)
            self.ring(committed.head)


__all__ = ["SessionWriter", "is_live"]
