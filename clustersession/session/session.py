"""Gives the application its session: a dict with a life of its own."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

from clustersession.core.errors import SessionError
from clustersession.core.state import (
    IDLE_TIMEOUT,
    LABEL,
    LIFETIME,
    LOGIN,
    PRINCIPAL,
    encode_ms,
    idle_timeout_ms,
)
from clustersession.session.expiry import until_ms
from clustersession.session.fetching import newest, newest_async
from clustersession.session.label import clean_label, read_label
from clustersession.session.lifetimes import PERMANENT, utc
from clustersession.session.swapping import swap, swap_async, swap_of
from clustersession.session.users import ClusterSessions, principal_text
from clustersession.session.visit import NewId, SessionDict
from clustersession.session.watch import SessionChange, watch
from clustersession.session.writing import save, save_async


class Session(SessionDict):
    """Is a user's session. Keys are strings; values are what ``wire.values`` lists.

    What is public here is what ``docs/sessions.md`` lists. All that a request notes besides stands
    in its ``Visit``.

    Attributes:
        accessed: the application looked at the session in this request.
    """

    __slots__ = ()

    # Whatever tells something of the stored session marks it as read: the response then varies with
    # the cookie, and no cache gives it to somebody else.

    @property
    def sid(self) -> str | None:
        """Return the id without the route, or None as long as nothing has been stored."""
        self.accessed = True
        return self._visit.identifier

    @property
    def new(self) -> bool:
        """Tell whether no stored session stood behind the request."""
        self.accessed = True
        return self._visit.new

    @property
    def modified(self) -> bool:
        """Tell whether anything was changed since the last commit, inside values too.

        Setting it is not needed for changes to be found, and does no harm.
        """
        if self._changed:
            return True
        try:
            return self._visit.unsaved
        except SessionError:
            return True  # the commit will say what is wrong

    @modified.setter
    def modified(self, value: bool) -> None:
        self._changed = value

    @property
    def created_at(self) -> datetime:
        """Return when the session was created, in UTC; now for one that is not stored yet."""
        self.accessed = True
        state = self._visit.state
        created_ms = self._visit.context.now_ms() if state is None else state.created_ms
        return utc(created_ms)

    @property
    def permanent(self) -> bool:
        """Tell whether the cookie outlives the browser, by the session's idle timeout."""
        return bool(self.get(PERMANENT, False))

    @permanent.setter
    def permanent(self, value: bool) -> None:
        self[PERMANENT] = bool(value)
        self.idle_timeout = self._visit.context.lifetimes.idle_timeout_s(bool(value))

    @property
    def principal(self) -> str | None:
        """Return the user this session belongs to, for listing and ending a user's sessions."""
        self.accessed = True
        data = self._visit.register(PRINCIPAL)
        return None if data is None else data.decode("utf-8", "replace")

    @principal.setter
    def principal(self, value: str | int | None) -> None:
        if value is not None and not isinstance(value, (str, int)):
            raise TypeError(f"principal must be a str, an int or None, not {type(value).__name__}")
        text = None if value is None else principal_text(value)
        if text == self.principal:
            # The same again is no new login: the time of that decides what a revocation ends.
            return
        visit = self._visit
        visit.set_register(PRINCIPAL, None if text is None else text.encode("utf-8"))
        visit.set_register(LOGIN, None)
        visit.outdated = False

    @property
    def label(self) -> str | None:
        """Return what the application noted of the device, for lists of a user's sessions.

        What is set is brought onto one line, without control characters, and cut to 100 characters.
        """
        self.accessed = True
        return read_label(self._visit.register(LABEL))

    @label.setter
    def label(self, value: str | None) -> None:
        if value is not None and not isinstance(value, str):
            raise TypeError(f"label must be a str or None, not {type(value).__name__}")
        text = None if value is None else clean_label(value)
        if text != self.label:
            self._visit.set_register(LABEL, None if text is None else text.encode())

    @property
    def cluster(self) -> ClusterSessions:
        """Return users' sessions across the cluster: to list and to end them."""
        self.accessed = True
        return ClusterSessions(self._visit.context)

    @property
    def lifetime(self) -> float:
        """Return the seconds from creation to the end, whatever happens; 0: as configured.

        It can be set before a session is stored, or after ``rotate()``: then it counts from now.
        The cookie lasts as long. At most the setting ``lifetime_s_max``.
        """
        self.accessed = True
        data = self._visit.register(LIFETIME)
        return int(data) / 1000 if data is not None and data.isdigit() else 0.0

    @lifetime.setter
    def lifetime(self, seconds: float) -> None:
        visit = self._visit
        longest_s = visit.context.settings.longest_life_s
        if not 0 < seconds <= longest_s:
            raise ValueError(
                f"lifetime must be above 0 and at most {longest_s:g} seconds (lifetime_s_max)"
            )
        if visit.key is not None and visit.new_id is None:
            raise RuntimeError(
                "the lifetime of a stored session is fixed; call rotate() before setting it"
            )
        visit.set_register(LIFETIME, encode_ms(round(seconds * 1000)))

    @property
    def idle_timeout(self) -> float:
        """Return the seconds without a request after which it ends; 0: never for that reason."""
        self.accessed = True
        visit = self._visit
        data = visit.system.get(IDLE_TIMEOUT)
        if data is not None:
            return int(data) / 1000
        if visit.state is not None:
            return idle_timeout_ms(visit.state) / 1000
        return visit.context.lifetimes.idle_timeout_s(False)

    @idle_timeout.setter
    def idle_timeout(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("idle_timeout must be 0 or more seconds")
        if seconds != self.idle_timeout:
            self._visit.set_register(IDLE_TIMEOUT, encode_ms(round(seconds * 1000)))

    def watch(self) -> AsyncIterator[SessionChange]:
        """Tell what other requests change, on any node, and at last the end: ``async for``.

        For long-lived handlers such as websockets. Changes that come faster than they are taken
        come as one. Raises ValueError when nothing is stored yet: ``await asave()`` first.
        """
        self.accessed = True
        return watch(self)

    def mark_accessed(self) -> None:
        """Note that the application looked at the session (Starlette calls this)."""
        self.accessed = True

    def mark_modified(self) -> None:
        """Note a change; not needed for changes to be found (Starlette's sessions have this)."""
        self.accessed = True
        self._changed = True

    def rotate(self) -> None:
        """Give the session a new id, keep its data and end the old id everywhere: at each login."""
        self.accessed = True
        visit = self._visit
        if not visit.discarded:
            visit.outdated = False
            visit.new_id = NewId.ROTATION

    def invalidate(self) -> None:
        """End the session everywhere: at logout. What is set afterwards starts a new session."""
        self._visit.invalidate()

    def save(self) -> None:
        """Commit what has changed now instead of at the end of the request.

        Blocks until peers confirm, as ``ack`` asks. For long-lived handlers such as websockets.
        Raises what a commit raises: UnserializableValue, SessionTooLarge, ReplicationFailed.
        """
        save(self._visit)

    async def asave(self) -> None:
        """Do what ``save`` does, without blocking the event loop."""
        await save_async(self._visit)

    def reload(self) -> bool:
        """Take over what other requests have committed since this one began, on any node.

        What was changed here and is not saved yet stays, attribute by attribute. False when the
        session has ended meanwhile, by a logout, a login or a timeout: then it is empty, and what
        is written to it is dropped. For handlers that live longer than a request, such as
        websockets. Raises what a commit raises for a value that cannot be stored.
        """
        visit = self._visit
        if visit.key is None or visit.discarded:
            return not visit.mute
        return visit.take_newer(newest(visit.context, visit.key))

    async def areload(self) -> bool:
        """Do what ``reload`` does, without blocking the event loop."""
        visit = self._visit
        if visit.key is None or visit.discarded:
            return not visit.mute
        return visit.take_newer(await newest_async(visit.context, visit.key))

    def set(
        self, name: str, value: Any, *, expires_in: float | timedelta | None = None
    ) -> None:
        """Set an attribute that is gone so many seconds from now, on every node.

        None: it stays as long as the session, as with ``session[name] = value``. That, and setting
        it again, ends the limit; changes inside the value leave it as it is. The session itself
        may end earlier. Raises ValueError for 0 and less, and TypeError for what is no number of
        seconds, and for values that merge.
        """
        visit = self._visit
        until = None
        if expires_in is not None:
            until = until_ms(visit.context.now_ms(), expires_in, value)
        self[name] = value
        if until is not None:
            visit.attributes.limit(name, until)
            self._look_at_times()

    def expires_in(self, name: str) -> float | None:
        """Return in how many seconds an attribute is gone; None: it stays as long as the session.

        0 where there is none.
        """
        if name not in self:
            return 0.0
        visit = self._visit
        until = visit.attributes.untils.get(name)
        return None if until is None else max(0, until - visit.context.now_ms()) / 1000

    def swap(
        self, name: str, old: Any, new: Any, *, expires_in: float | timedelta | None = None
    ) -> bool:
        """Set an attribute, at once, if it is stored as ``old``; tell whether it was, and is now.

        None as ``old`` stands for an attribute that is not there, too. Values are compared as they
        are stored: 1, 1.0 and True are three of them. Of the workers of a host one is told True,
        whatever they have read. Afterwards the session holds what is stored, whoever wrote it; what
        else is changed here and not saved yet stays so. False as well when the session has ended or
        there is no space. Blocks until peers confirm, as ``ack`` asks. ``expires_in``: of the new
        value, as for ``set``. Raises what a commit raises, and TypeError for values that merge.
        """
        self.accessed = True
        visit = self._visit
        return swap(visit, swap_of(visit, name, old, new, expires_in))

    async def aswap(
        self, name: str, old: Any, new: Any, *, expires_in: float | timedelta | None = None
    ) -> bool:
        """Do what ``swap`` does, without blocking the event loop."""
        self.accessed = True
        visit = self._visit
        return await swap_async(visit, swap_of(visit, name, old, new, expires_in))

    def clear(self) -> None:
        """Delete every attribute, those that cannot be read too.

        Under Flask, Quart and ASGI frameworks this ends the session, like ``invalidate``.
        """
        if self._visit.clearing_ends:
            self._visit.invalidate()
        else:
            dict.clear(self)
            self._visit.attributes.delete_undecodable()
            self._changed = True

    def _load(self) -> None:
        """Decode every attribute; here they are decoded, see ``session.untouched``."""
