"""Notes what one request knows of its session and its client, and what it still owes."""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeVar, cast, overload
from weakref import ref

from clustersession.core.ids import KEY_LENGTH
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import (
    ENDED_REPLACED,
    IDLE_TIMEOUT,
    LIFETIME,
    SYSTEM_PREFIX,
    SessionState,
)
from clustersession.session.attributes import AttributeTracker
from clustersession.session.authentic import Candidate
from clustersession.session.changes import AttributeChanges
from clustersession.session.context import SessionContext
from clustersession.session.expiry import present
from clustersession.session.lifetimes import was_just_replaced
from clustersession.session.stored import StoredAttributes, stored_attributes

IMPORTED_PREFIX = RESERVED_PREFIX + "old."
"""Keys of records of imported sessions, see ``session.legacy``."""

SOURCE = "\x00source"
"""Register of a record: which old store it came from."""

_T = TypeVar("_T")
_NOTHING: Mapping[str, bytes | None] = MappingProxyType({})
NO_ENDINGS: Mapping[str, SessionState | None] = MappingProxyType({})


class NewId(Enum):
    """Says why a session is to get a new id at the next commit."""

    ROTATION = auto()
    """The application asked for it."""

    EXCHANGE = auto()
    """It is an imported record that becomes a session of ours."""


class SessionDict(dict[str, Any]):
    """Is the dict that an application holds, as far as this room needs to know it.

    ``session.session.Session`` is what applications see of it; its documentation has the
    attributes. ``_visit`` is the only way from here to the request's notes.
    """

    __slots__ = ("__weakref__", "_changed", "_visit", "accessed")

    _visit: "Visit"
    accessed: bool

    _checking_class: ClassVar[type["SessionDict"]]
    """What it becomes while it holds attributes whose time is limited; see ``session.untouched``.
    """

    _changed: bool
    """A method that changes the session was called since the last commit."""

    def __setitem__(self, key: str, value: Any) -> None:
        self.accessed = True
        if type(key) is not str or key[:1] == SYSTEM_PREFIX or not key.isascii():
            key = checked_name(key)
        dict.__setitem__(self, key, value)
        self._changed = True
        attributes = self._visit.attributes
        if attributes.untils:
            attributes.limit(key, None)

    def __delitem__(self, key: str) -> None:
        dict.__delitem__(self, key)
        self._changed = True

    def pop(self, key: str, *default: Any) -> Any:
        """Do what dict.pop does."""
        if key in self:
            self._changed = True
        return dict.pop(self, key, *default)

    def popitem(self) -> tuple[str, Any]:
        """Do what dict.popitem does."""
        item = dict.popitem(self)
        self._changed = True
        return item

    @overload
    def setdefault(self, key: str, default: None = None) -> Any: ...
    @overload
    def setdefault(self, key: str, default: _T) -> Any: ...
    def setdefault(self, key: str, default: Any = None) -> Any:
        """Do what dict.setdefault does."""
        if key not in self:
            self[key] = default
        return dict.__getitem__(self, key)

    def update(self, *others: Any, **values: Any) -> None:
        """Do what dict.update does, all or nothing."""
        new = {checked_name(key): value for key, value in dict(*others, **values).items()}
        dict.update(self, new)
        self._changed = True
        attributes = self._visit.attributes
        for name in attributes.untils.keys() & new.keys():
            attributes.limit(name, None)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self

    def copy(self) -> dict[str, Any]:
        """Return a plain dict of the attributes."""
        return dict(self)

    def _look_at_times(self) -> None:
        """Have every read look whether its time is over, if the time of any attribute is limited.
        """
        if self._visit.attributes.untils and type(self) is not self._checking_class:
            self.__class__ = self._checking_class

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # A copied or pickled session is a plain dict: a second live one would commit as well.
        return dict, (dict(self),)


class _ReleasedSession:
    """Finds the session of a visit that let go of it: whoever asks holds it, or nobody would ask.

    It is no data descriptor, so that before ``release`` the visit's own attribute comes first.
    """

    def __get__(self, visit: "Visit", _: type["Visit"]) -> SessionDict | None:
        return visit._released()


class Visit:
    """Holds the notes of one request about its session and its client.

    Most requests leave most notes as they are, so what is said first stands in the class.
    """

    # --- what was there before ------------------------------------------------------------------

    context: SessionContext
    session: SessionDict = cast(SessionDict, _ReleasedSession())
    """What the application holds; a ``session.session.Session``. It holds this visit as well, so
    that after ``release`` the visit refers to it weakly."""

    _released: "ref[SessionDict]"
    """The session, from ``release`` on."""

    attributes: AttributeTracker
    """Knows what is stored of the attributes, and finds what has changed."""

    new = True
    """No stored session stood behind the request."""

    # --- the stored session ---------------------------------------------------------------------

    identifier: str | None = None
    """The id without the route. It, ``key`` and ``state`` are set together, by ``attach`` and by a
    commit, and are None together: before the first commit and after ``detach``."""

    key: str | None = None
    """The key in the replica."""

    state: SessionState | None = None
    """The copy that the session was read from or last committed."""

    stored: StoredAttributes | None = None
    """What follows from ``state``; None exactly when that is."""

    holds_local = False
    """Some stored attributes stay on this node; once true it stays so."""

    discarded = False
    """The session has ended elsewhere or a commit was refused: nothing more is ever written."""

    outdated = False
    """The client's id made way for another a moment ago, which is on its way. Nothing is stored and
    no cookie is set, which would take its place. ``rotate`` and a principal end this state: the
    client may never have got that answer, and logs in again."""

    clears_at_login = False
    """The outdated id was of a session that a login cleared: to do so again ends this state too."""

    # --- what the next commit owes --------------------------------------------------------------

    system: Mapping[str, bytes | None] = _NOTHING
    """System registers to write, None deletes; empty again after a commit."""

    new_id: NewId | None = None
    """Why the session is to get a new id; None again after a commit."""

    endings: Mapping[str, SessionState | None] = NO_ENDINGS
    """Sessions to end, the application's logout, by key: the copy that the request had, if any.
    Empty again after a commit."""

    wanted = False
    """The session is to be stored even while it is empty, as Django does."""

    keeps_id = False
    """There may be nobody to tell the client of a new id that the application did not ask for."""

    logs_in = False
    """The session is about to be a user's, whose name the framework gives only after it has told
    the application the new id, as Django does."""

    wrote = False
    """Something was committed in this request; stays true."""

    # --- the client -----------------------------------------------------------------------------

    client: tuple[str, str | None] | None = None
    """The authentic id and the route that the client holds; after the answer, those it will."""

    candidates: tuple[Candidate, ...] = ()
    """Authentic ids whose sessions are to be fetched from peers."""

    missing = False
    """The id is authentic but the session is not on this node, lacks writes that its client has
    seen, or was found while the node had not met its peers: ``fetch`` is to be called before the
    application gets to see the session."""

    seen: Mapping[str, Mapping[bytes, int]] = MappingProxyType({})
    """The writes that the client has seen, by the key of the session; see ``session.seen``."""

    by_cookie = True
    """The client is told its id in a cookie."""

    by_header = False
    """The client is told its id in a header, see ``requests.answer``."""

    legacy = ""
    """Key of the record behind the client's old cookie, see ``session.legacy``; empty: none."""

    clearing_ends = False
    """``session.clear()`` is the framework's logout, as it is Flask's and Starlette's."""

    # --- the answer -----------------------------------------------------------------------------

    removed = False
    """The client's cookie is to go, unless something new is stored."""

    refresh = False
    """The cookie is due for a new lifetime; false again when it has been set."""

    answered = False
    """The response headers are out: no new id can reach the client any more."""

    # --- the request ----------------------------------------------------------------------------

    is_open = False
    """The request is under way, see ``session.open_visits``."""

    is_long = False
    """It was under way when somebody looked; once true it stays so."""

    recorded_until_ms = 0
    """Until when no access is to be recorded, because one was while the request was open."""

    opened_by: object = None
    """The ``requests.opening.RequestOpener`` whose adapter opened it, and answers the client."""

    cookies: str | bytes = b""
    """The Cookie headers of the request, as they came."""

    def __init__(self, context: SessionContext, session: SessionDict) -> None:
        self.context = context
        self.session = session
        self.attributes = AttributeTracker(
            context.settings.attribute_bytes_max, context.warnings
        )
        session._visit = self
        session.accessed = session._changed = False

    def release(self) -> None:
        """Let go of the session when the request is over; adapters do so last of all.

        Session and visit hold each other: otherwise only Python's collection of garbage would find
        them, some hundred requests later. Another thread may be using both at this moment.
        """
        own = self.__dict__
        if "session" in own:
            self._released = ref(self.session)
            own.pop("session", None)

    @property
    def mute(self) -> bool:
        """Tell whether nothing of this visit is stored, and its client is told of no id."""
        return self.discarded or self.outdated

    @property
    def touched(self) -> bool:
        """Tell whether the application may have changed anything."""
        return bool(
            self.session._changed or self.attributes.mutable or self.new_id or self.system
        )

    @property
    def unsaved(self) -> bool:
        """Tell whether a commit would write something. Raises what ``find_changes`` raises."""
        if self.mute:
            return False
        return bool(
            self.new_id or self.system or self.endings or (self.touched and self.find_changes())
        )

    @property
    def stands_for_record(self) -> bool:
        """Tell whether an imported record is behind the session, and no session of ours yet."""
        return self.key is not None and self.key.startswith(IMPORTED_PREFIX)

    @property
    def says_something(self) -> bool:
        """Tell whether it is to get a user or a label: that is stored without any attribute."""
        return any(
            data is not None and name not in (IDLE_TIMEOUT, LIFETIME)
            for name, data in self.system.items()
        )

    def find_changes(self) -> AttributeChanges:
        """Find what the application changed; see ``changes.find_changes`` for the errors."""
        if self.attributes.untils:
            self.drop_expired()
        return self.attributes.find_changes(self.session, self.session._changed)

    def drop_expired(self) -> None:
        """Leave out attributes whose time is over."""
        if self.attributes.untils:
            self.attributes.drop_expired(self.session, self.context.now_ms())

    def set_register(self, name: str, data: bytes | None) -> None:
        """Have the next commit write a system register; None deletes it."""
        self.system = {**self.system, name: data}
        self.session._changed = True

    def register(self, name: str) -> bytes | None:
        """Return a system register, as the next commit will leave it."""
        if name in self.system:
            return self.system[name]
        register = None if self.state is None else self.state.registers.get(name)
        return None if register is None else register.value

    def writes(self, changes: AttributeChanges) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """Return the changes with those of system registers: to set, to delete."""
        sets, deletes = dict(changes.sets), changes.deletes
        for name, data in self.system.items():
            if data is None:
                deletes += (name,)
            else:
                sets[name] = data
        return sets, deletes

    def attach(self, identifier: str, key: str, state: SessionState) -> None:
        """Take a stored session; lists, dicts and the like are decoded when they are asked for."""
        stored = stored_attributes(state)
        if stored.untils:
            state = present(self.context, key, state)
            stored = stored_attributes(state)
        self.identifier, self.key, self.state, self.stored = identifier, key, state, stored
        self.missing = self.outdated = self.new = False
        self.attributes.take(self.session, key, stored)
        if stored.holds_local:
            self.holds_local = True

    def attach_record(self, identifier: str, key: str, state: SessionState) -> None:
        """Take an imported record, to be exchanged for a session with this id at the commit."""
        self.attach(identifier, key, state)
        self.new_id = NewId.EXCHANGE

    def replace_state(self, state: SessionState) -> None:
        """Note a newer copy after a commit that changed no attribute of ours."""
        self.state, self.stored = state, stored_attributes(state, self.state)

    def take_newer(self, state: SessionState | None) -> bool:
        """Continue from a newer copy, with the unsaved changes of this one on top.

        False when there is none because the session has ended: see ``lose``.
        """
        if state is None or state.ended is not None:
            self.lose()
            return False
        if self.key is not None:
            state = present(self.context, self.key, state)
        # Of the copy that came with a recorded access nothing was taken over: the last one that
        # this visit has seen does not tell what its session holds.
        self.replace_state(state)
        session = self.session
        if self.attributes.take_newer(session, session._changed, stored_attributes(state)):
            session._changed = True
        session._look_at_times()
        return True

    def take_stored(self, name: str, state: SessionState) -> None:
        """Take an attribute as a newer copy has it, the others with unsaved changes on top.

        Raises what ``find_changes`` raises.
        """
        session = self.session
        if self.key is not None:
            state = present(self.context, self.key, state)
        self.attributes.forget(session, name)
        self.replace_state(state)
        if self.attributes.take_newer(session, session._changed, stored_attributes(state)):
            session._changed = True
        session._look_at_times()

    def committed(
        self, identifier: str, key: str, state: SessionState, changes: AttributeChanges
    ) -> None:
        """Note that the changes are stored: later ones are found against them."""
        self.stored = stored = stored_attributes(state, self.state)
        self.identifier, self.key, self.state = identifier, key, state
        self.wrote = True
        self.system, self.new_id = _NOTHING, None
        self.session._changed = False
        self.attributes.saved(self.session, key, changes, stored)

    def invalidate(self) -> None:
        """Have the next commit end the session; what is set afterwards begins a new one."""
        dict.clear(self.session)
        self.session._changed = True
        endings = dict(self.endings)
        if self.key is not None and not self.discarded:
            endings[self.key] = self.state
            if self.stands_for_record and self.identifier is not None:
                # Another request may have exchanged it meanwhile.
                endings[self.identifier[:KEY_LENGTH]] = None
        if self.legacy:
            endings.setdefault(self.legacy, None)
        self.endings = endings
        self.detach()
        self.removed = True

    def begin_anew(self) -> None:
        """Forget the session and what the client holds: what is set from now on is another one.

        A visit that is outdated stays so: another session is no login.
        """
        dict.clear(self.session)
        self.detach()
        if not self.outdated:
            self.client = None
        self.endings, self.discarded, self.removed = NO_ENDINGS, False, False
        self.session._changed, self.new = False, True

    def note_outdated(self, state: SessionState | None, now_ms: int) -> bool:
        """Take the client's id for outdated, if its session made way for another a moment ago."""
        if state is None or state.ended is None or not was_just_replaced(state, now_ms):
            return False
        self.outdated = True
        self.clears_at_login |= state.ended.reason == ENDED_REPLACED
        return True

    def lose(self) -> None:
        """Note that the session has ended elsewhere: it is empty here, and nothing is written."""
        dict.clear(self.session)
        self.detach()
        self.discarded = True

    def detach(self) -> None:
        """Forget the stored session: from now on there is none behind this visit."""
        self.identifier = self.key = self.state = self.stored = None
        self.attributes.forget_stored()
        self.system, self.new_id = _NOTHING, None
        self.wanted = False


def visit_of(session: SessionDict) -> Visit:
    """Return the visit of a request, from the session that its application holds."""
    return session._visit


def checked_name(key: object) -> str:
    """Return the name of an attribute as plain text. Raises TypeError and ValueError."""
    if not isinstance(key, str):
        raise TypeError(f"session keys must be str, not {type(key).__name__}: {key!r:.80}")
    if key.startswith(SYSTEM_PREFIX):
        raise ValueError("session keys must not start with a zero character")
    if not key.isascii():
        key.encode("utf-8")
    return key if type(key) is str else str.__str__(key)
