"""The session as the application sees it: attributes, and a life of their own."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from clustersession.core.ids import KEY_LENGTH
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import (
    IDLE_TIMEOUT,
    LIFETIME,
    LOGIN,
    PRINCIPAL,
    SessionState,
    encode_ms,
    idle_timeout_ms,
)
from clustersession.session.attributes import Attributes
from clustersession.session.changes import Changes, visible_values
from clustersession.session.keeper import SessionKeeper
from clustersession.session.stored import stored_attributes
from clustersession.wire.values import encode_value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from clustersession.session.authentic import Candidate
    from clustersession.session.users import ClusterSessions
    from clustersession.session.watch import SessionChange

PERMANENT = "_permanent"
"""The attribute behind ``permanent``: the name Flask uses, visible like there."""

IMPORTED_PREFIX = RESERVED_PREFIX + "old."
"""Keys of records of imported sessions, see ``session.legacy``."""

SOURCE = "\x00source"
"""Register of a record: which old store it came from."""

_ROTATE, _EXCHANGE = "rotate", "exchange"
_TRUE = encode_value(True)


class Session(Attributes):
    """A user's session. Keys are strings; values are what ``wire.values`` lists.

    Attributes:
        accessed: the application looked at the session in this request.
        modified: the application called a method that changes it, since the last commit. Changes
            inside values are found without this flag; setting it does no harm.
        new: no stored session stood behind the request.
        missing: the id is authentic but the session is not on this node, or lacks writes that its
            client has seen; ``manager.fetch`` asks the peers before the application gets to see it.
    """

    __slots__ = (
        "_identifier", "_keeper", "_key", "_rotating", "_state", "_system", "accessed",
        "by_cookie", "by_header", "candidates", "clearing_ends", "client", "discarded", "endings",
        "holds_local", "legacy", "missing", "new", "refresh", "removed", "sealed", "seen", "wanted",
        "wrote",
    )  # fmt: skip

    legacy: str

    def __init__(self, keeper: SessionKeeper, bytes_max: int) -> None:
        super().__init__(bytes_max)
        self._keeper = keeper
        self._identifier: str | None = None
        self._key: str | None = None
        self._state: SessionState | None = None
        self._system: dict[str, bytes | None] = {}
        self._rotating = ""
        self.accessed = False
        self.new = True
        self.missing = False
        # Whether clear() is the framework's logout, as it is Flask's and Starlette's.
        self.clearing_ends = False
        # The manager's notes. by_cookie, by_header: how to tell the client its id; candidates: what
        # to fetch; client: the (id, route) that the client holds; discarded: writes are dropped,
        # the session ended under us; endings: keys to end at the next commit; holds_local: some
        # attributes stay on this node; refresh: the cookie is due for a new lifetime; removed: the
        # client's cookie is to go; sealed: the response headers are out; seen: the writes that the
        # client names, as far as anybody looks; wanted: to be stored even while it is empty, as
        # Django does; wrote: a change was committed in this request.
        self.by_cookie = True
        self.by_header = False
        self.candidates: tuple[Candidate, ...] = ()
        self.client: tuple[str, str | None] | None = None
        self.discarded = False
        self.endings: tuple[str, ...] = ()
        self.holds_local = False
        self.refresh = False
        self.removed = False
        self.sealed = False
        self.seen: Mapping[bytes, int] | None = None
        self.wanted = False
        self.wrote = False

    # --- attributes -----------------------------------------------------------------------------

    @property
    def sid(self) -> str | None:
        """The id without the route, or None as long as nothing has been stored."""
        return self._identifier

    @property
    def created_at(self) -> datetime:
        """When the session was created, in UTC; now for one that is not stored yet."""
        state = self._state
        created_ms = self._keeper.now_ms() if state is None else state.created_ms
        return datetime.fromtimestamp(created_ms / 1000, UTC)

    @property
    def permanent(self) -> bool:
        """Whether the cookie outlives the browser, by the session's idle timeout."""
        return bool(self.get(PERMANENT, False))

    @permanent.setter
    def permanent(self, value: bool) -> None:
        self[PERMANENT] = bool(value)
        self.idle_timeout = self._keeper.idle_timeout_s_for(bool(value))

    @property
    def principal(self) -> str | None:
        """The user this session belongs to, for listing and ending a user's sessions."""
        data = self._system_register(PRINCIPAL)
        return None if data is None else data.decode("utf-8", "replace")

    @principal.setter
    def principal(self, value: str | int | None) -> None:
        if value is not None and not isinstance(value, (str, int)):
            raise TypeError(f"principal must be a str, an int or None, not {type(value).__name__}")
        text = None if value is None else str(value)
        if text == self.principal:
            # The same again is no new login: the time of that decides what a revocation ends.
            return
        self._system[PRINCIPAL] = None if text is None else text.encode("utf-8")
        self._system[LOGIN] = None
        self.modified = True

    @property
    def cluster(self) -> "ClusterSessions":
        """Users' sessions across the cluster: to list and to end them."""
        return self._keeper.sessions()

    @property
    def lifetime(self) -> float:
        """Seconds from creation to the end of the session, whatever happens; 0: as configured.

        It can be set before a session is stored, or after ``rotate()``: then it counts from now.
        The cookie lasts as long. At most the setting ``lifetime_s_max``.
        """
        data = self._system_register(LIFETIME)
        return int(data) / 1000 if data is not None and data.isdigit() else 0.0

    @lifetime.setter
    def lifetime(self, seconds: float) -> None:
        longest_s = self._keeper.longest_life_s
        if not 0 < seconds <= longest_s:
            raise ValueError(
                f"lifetime must be above 0 and at most {longest_s:g} seconds (lifetime_s_max)"
            )
        if self._key is not None and not self._rotating:
            raise RuntimeError(
                "the lifetime of a stored session is fixed; call rotate() before setting it"
            )
        self._system[LIFETIME] = encode_ms(round(seconds * 1000))
        self.modified = True

    @property
    def idle_timeout(self) -> float:
        """Seconds without a request after which the session ends; 0: never for that reason."""
        data = self._system.get(IDLE_TIMEOUT)
        if data is not None:
            return int(data) / 1000
        if self._state is not None:
            return idle_timeout_ms(self._state) / 1000
        return self._keeper.idle_timeout_s_for(False)

    @idle_timeout.setter
    def idle_timeout(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("idle_timeout must be 0 or more seconds")
        if seconds != self.idle_timeout:
            self._system[IDLE_TIMEOUT] = encode_ms(round(seconds * 1000))
            self.modified = True

    def watch(self) -> "AsyncIterator[SessionChange]":
        """Changes made by other requests, on any node, and at last the end: ``async for``.

        For long-lived handlers such as websockets. Changes that come faster than they are taken
        come as one. Raises ValueError when nothing is stored yet: ``await asave()`` first.
        """
        return self._keeper.watch(self)

    def mark_accessed(self) -> None:
        """Note that the application looked at the session (Starlette calls this)."""
        self.accessed = True

    def mark_modified(self) -> None:
        """Note a change; not needed for changes to be found (Starlette's sessions have this)."""
        self.accessed = True
        self.modified = True

    def rotate(self) -> None:
        """Give the session a new id, keep its data and end the old id everywhere: at each login."""
        self.accessed = True
        if not self.discarded:
            self._rotating = _ROTATE

    def invalidate(self) -> None:
        """End the session everywhere: at logout. What is set afterwards starts a new session."""
        dict.clear(self)
        self.modified = True
        if self._key is not None and not self.discarded:
            self.endings += (self._key,)
            if self.stands_for_record and self._identifier is not None:
                # Another request may have exchanged it meanwhile.
                self.endings += (self._identifier[:KEY_LENGTH],)
        legacy: str = getattr(self, "legacy", "")
        if legacy and legacy not in self.endings:
            self.endings += (legacy,)
        self.detach()
        self.removed = True

    def save(self) -> None:
        """Commit what has changed now instead of at the end of the request.

        Blocks until peers confirm, as ``ack`` asks. For long-lived handlers such as websockets.
        Raises what a commit raises: UnserializableValue, SessionTooLarge, ReplicationFailed.
        """
        self._keeper.save(self)

    async def asave(self) -> None:
        """``save`` without blocking the event loop."""
        await self._keeper.asave(self)

    def reload(self) -> bool:
        """Take over what other requests have committed since this one began, on any node.

        What was changed here and is not saved yet stays, attribute by attribute. False when the
        session has ended meanwhile, by a logout, a login or a timeout: then it is empty, and what
        is written to it is dropped. For handlers that live longer than a request, such as
        websockets. Raises what a commit raises for a value that cannot be stored.
        """
        return self._keeper.reload(self)

    async def areload(self) -> bool:
        """``reload`` without blocking the event loop."""
        return await self._keeper.areload(self)

    def clear(self) -> None:
        """Delete every attribute, those that cannot be read too.

        Under Flask, Quart and ASGI frameworks this ends the session, like ``invalidate``.
        """
        if self.clearing_ends:
            self.invalidate()
        else:
            super().clear()

    # --- for the manager ------------------------------------------------------------------------

    def knows(self, name: str, data: bytes | None) -> bool:
        """Whether the application holds this value of an attribute, or knows that it is gone."""
        if data is None:
            return name not in dict.keys(self)
        original = self._originals.get(name)
        return original is not None and original.data == data

    @property
    def key(self) -> str | None:
        """The store key, None as long as nothing is stored."""
        return self._key

    @property
    def state(self) -> SessionState | None:
        """The copy this session was read from or last committed."""
        return self._state

    @property
    def touched(self) -> bool:
        """Whether the application may have changed anything."""
        return bool(self.modified or self._mutable or self._rotating or self._system)

    @property
    def unsaved(self) -> bool:
        """Whether a commit would write something. Raises what ``find_changes`` raises."""
        if self.discarded:
            return False
        return bool(
            self._rotating or self._system or self.endings or (self.touched and self.find_changes())
        )

    @property
    def rotating(self) -> bool:
        """Whether the session is to move to a new id."""
        return bool(self._rotating)

    @property
    def exchanging(self) -> bool:
        """Whether a record is to become a session, and the application asked for no other id."""
        return self._rotating == _EXCHANGE

    @property
    def stands_for_record(self) -> bool:
        """Whether an imported record is behind this one, and no session of ours yet."""
        return self._key is not None and self._key.startswith(IMPORTED_PREFIX)

    @property
    def system(self) -> Mapping[str, bytes | None]:
        """System registers to write; None deletes."""
        return self._system

    @property
    def stored_permanent(self) -> bool:
        """``permanent`` as stored, without loading."""
        register = None if self._state is None else self._state.registers.get(PERMANENT)
        return register is not None and register.value == _TRUE

    def attach(self, identifier: str, key: str, state: SessionState) -> None:
        """Take a stored session; lists, dicts and the like are decoded when they are asked for."""
        self._identifier, self._key, self._state = identifier, key, state
        self.new = self.missing = False
        stored = stored_attributes(state)
        self.take(stored)
        if stored.holds_local:
            self.holds_local = True

    def attach_record(self, identifier: str, key: str, state: SessionState) -> None:
        """Take an imported record, to be exchanged for a session with this id at the commit."""
        self.attach(identifier, key, state)
        self._rotating = _EXCHANGE

    def replace_state(self, state: SessionState) -> None:
        """Note a newer copy after a commit that changed no attribute of ours."""
        self._state = state

    def take_newer(self, state: SessionState) -> None:
        """Continue from a newer copy, with the unsaved changes of this one on top."""
        before, self._state = self._state, state
        if before is None or before.versions != state.versions:
            self.stored_is(visible_values(state.registers))

    def left_out(self, name: str, error: Exception) -> None:
        """Report an attribute that cannot be read."""
        self._keeper.undecodable(self._key or "", name, error)

    def lose(self) -> None:
        """The session has ended elsewhere: nothing of it is left here, and nothing is written."""
        dict.clear(self)
        self.detach()
        self.discarded = True

    def committed(
        self, identifier: str, key: str, state: SessionState, changes: Changes
    ) -> None:
        """The changes are stored: later ones are found against them."""
        before = self._state
        self._identifier, self._key, self._state = identifier, key, state
        self.wrote = True
        self._system.clear()
        self._rotating = ""
        self.saved(changes, stored_attributes(state, before))

    def detach(self) -> None:
        """Stand behind no stored session any more."""
        self._identifier = self._key = self._state = None
        self.forget_stored()
        self._system.clear()
        self._rotating = ""
        self.wanted = False

    def load(self) -> None:
        """Decode every attribute and become a plain Session."""

    def _system_register(self, name: str) -> bytes | None:
        if name in self._system:
            return self._system[name]
        register = None if self._state is None else self._state.registers.get(name)
        return None if register is None else register.value
