"""Takes the place of Beaker's session middleware: ``environ["beaker.session"]`` in the cluster.

    from clustersession.beaker import SessionMiddleware

    app = SessionMiddleware(app, {"session.auto": True}, distributable=True)

Beaker itself is not needed. Its options are translated where they mean something here; those that
choose and tune a store are accepted with one warning each that says why they have no effect, and
every other one is refused. Options by keyword may be Beaker's or settings of ours by name; in
``config``, ours are written ``clustersession.distributable``.

As with Beaker, what is changed is only kept when ``save()`` is called before the request ends, or
with ``auto``. It is taken over when the application starts its response. ``invalidate``, ``delete``
and ``regenerate_id`` need no ``save``.
"""

import copy
import logging
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from clustersession.core.errors import ConfigurationError, SessionError
from clustersession.requests.nesting import check_inside
from clustersession.session.manager import SessionManager
from clustersession.session.session import Session
from clustersession.session.visit import visit_of
from clustersession.settings.rules import BOUNDS
from clustersession.settings.sources import Said
from clustersession.wire.values import encode_value
from clustersession.wsgi import ClusterSessionMiddleware, Environ, StartResponse, WSGIApp

_log = logging.getLogger("clustersession")

_PREFIXES = ("beaker.session.", "session.")
_OUR_PREFIX = "clustersession."
_CREATED, _ACCESSED = "_creation_time", "_accessed_time"

_TRANSLATED = {
    "key": "cookie_name",
    "timeout": "idle_timeout_s",
    "cookie_expires": "cookie_max_age_s",
    "cookie_domain": "cookie_domain",
    "cookie_path": "cookie_path",
    "secure": "cookie_secure",
    "httponly": "cookie_httponly",
    "samesite": "cookie_samesite",
    "secret": "secret_key",
    "validate_key": "secret_key",
}

_OWN_STORE = "sessions are held by the cluster itself, in clustersession.state_dir"
_NO_PICKLE = "values are always encoded with msgpack, with their types"
_SIGNED = "the cookie has a signed id and no data that could be encrypted"
_NO_EFFECT = {
    "type": _OWN_STORE, "data_dir": _OWN_STORE, "url": _OWN_STORE, "table_name": _OWN_STORE,
    "sa_opts": _OWN_STORE, "optimistic": _OWN_STORE, "memcache_module": _OWN_STORE,
    "lock_dir": "nothing is locked: requests at the same time merge",
    "data_serializer": _NO_PICKLE, "serializer": _NO_PICKLE,
    "encrypt_key": _SIGNED, "encrypt_nonce_bits": _SIGNED, "crypto_type": _SIGNED,
    "invalidate_corrupt": "a forged id is never looked up, and begins no session",
    "save_accessed_time": "accesses are always recorded, at most once in a twentieth of timeout",
    "log_file": "the log is Python's, under the name clustersession",
    "webtest_varname": "a test finds the session in the environ",
}
"""Options of Beaker that say nothing here, and why."""

_REFUSED = {
    "id": "ids are made by the node; get_by_id reads another session",
    "use_cookies": "clustersession.header_name has clients without cookies send the id in a header",
    "session_class": "sessions are of one class; clustersession.listeners hear of what happens",
    "namespace_class": _OWN_STORE,
}
"""Options of Beaker that ask for what cannot be done here, and what there is instead."""


class SessionMiddleware:
    """Gives every request's environ a session with Beaker's methods under ``environ_key``.

    ``environ["clustersession.session"]`` is the session behind it. Raises ConfigurationError.

    Attributes:
        app, wrap_app: the application inside.
        runtime: as of ``clustersession.wsgi``'s middleware, which does the work.
    """

    def __init__(
        self,
        wrap_app: WSGIApp,
        config: Mapping[str, Any] | None = None,
        environ_key: str = "beaker.session",
        **kwargs: Any,
    ) -> None:
        options, self._auto = _read_options(config or {}, kwargs)
        self.wrap_app = self.app = wrap_app
        self._environ_key = environ_key
        self._around = ClusterSessionMiddleware(self._serve, **options)
        self.runtime = self._around.runtime
        check_inside(wrap_app, self.runtime)

    def start(self) -> None:
        """Join the cluster now: see ``clustersession.wsgi``."""
        self.runtime.start()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        return self._around(environ, start_response)

    def _serve(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        session = BeakerSession(
            environ["clustersession.session"], self.runtime.manager, self._auto
        )
        environ[self._environ_key] = session

        def start(*arguments: Any) -> Any:
            session.start_response()
            return start_response(*arguments)

        return self.wrap_app(environ, start)


class BeakerSession(MutableMapping[str, Any]):
    """Is what Beaker calls a SessionObject: a copy of the session, made when it is first asked for.

    ``_manager`` finds the process's manager. ``_values`` is the copy, None before it is needed, and
    ``_before`` is what the session held then.
    """

    def __init__(self, session: Session, manager: Any, auto: bool) -> None:
        self._session = session
        self._manager = manager
        self._auto = auto
        self._values: dict[str, Any] | None = None
        self._before: dict[str, Any] = {}
        self._accessed = self._dirty = self._started = False

    def _copied(self) -> dict[str, Any]:
        values = self._values
        if values is None:
            self._accessed = True
            session = self._session
            # A change inside a value of the session itself would be committed without ``save``.
            self._before = copy.deepcopy(session.copy())
            self._values = values = copy.deepcopy(self._before)
            values[_CREATED] = session.created_at.timestamp()
            values[_ACCESSED] = visit_of(session).context.now_ms() / 1000
        return values

    def __getitem__(self, name: str) -> Any:
        return self._copied()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._copied()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._copied()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._copied())

    def __len__(self) -> int:
        return len(self._copied())

    def __repr__(self) -> str:
        return repr(self._copied())

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # A copied or pickled session is a plain dict.
        return dict, (self.copy(),)

    def has_key(self, name: str) -> bool:
        """Do what ``in`` does."""
        return name in self

    def copy(self) -> dict[str, Any]:
        """Return a plain dict of the attributes."""
        return dict(self._copied())

    @property
    def clustered(self) -> Session:
        """Return the session behind this one; what is changed there needs no ``save``."""
        return self._session

    @property
    def principal(self) -> str | None:
        """Return the user this session belongs to; setting it needs no ``save``."""
        return self._session.principal

    @principal.setter
    def principal(self, value: str | int | None) -> None:
        self._session.principal = value

    @property
    def label(self) -> str | None:
        """Return what was noted of the device; setting it needs no ``save``."""
        return self._session.label

    @label.setter
    def label(self, value: str | None) -> None:
        self._session.label = value

    @property
    def id(self) -> str | None:
        """Return the id without the route, or None as long as nothing has been stored."""
        self._accessed = True
        return self._session.sid

    @property
    def is_new(self) -> bool:
        """Tell whether no stored session stood behind the request."""
        self._accessed = True
        return self._session.new

    @property
    def created(self) -> float:
        """Return when the session was created, in seconds of Unix time."""
        created: float = self._copied()[_CREATED]
        return created

    @property
    def last_accessed(self) -> float | None:
        """Return the recorded access before this request, None in a new session.

        Accesses are recorded at most once in a twentieth of the timeout.
        """
        self._accessed = True
        self._session.mark_accessed()
        state = visit_of(self._session).state
        return None if state is None else state.accessed_ms / 1000

    @property
    def timeout(self) -> float:
        """Return the seconds without a request after which this session ends."""
        return self._session.idle_timeout

    def set(
        self, name: str, value: Any, *, expires_in: float | timedelta | None = None
    ) -> None:
        """Set an attribute, without ``save``; see ``session.session.Session``."""
        values = self._copied()
        self._session.set(name, value, expires_in=expires_in)
        self._copy_anew(name, values)

    def expires_in(self, name: str) -> float | None:
        """Return in how many seconds an attribute is gone; see ``session.session.Session``."""
        values, before = self._copied(), self._before
        if name in values and not (name in before and _is_same(values[name], before[name])):
            return None
        return self._session.expires_in(name)

    def swap(
        self, name: str, old: Any, new: Any, *, expires_in: float | timedelta | None = None
    ) -> bool:
        """Set an attribute at once, without ``save``; see ``session.session.Session``."""
        values = self._copied()
        swapped = self._session.swap(name, old, new, expires_in=expires_in)
        self._copy_anew(name, values)
        return swapped

    def _copy_anew(self, name: str, values: dict[str, Any]) -> None:
        for copied in (values, self._before):
            copied.pop(name, None)
            if name in self._session:
                copied[name] = copy.deepcopy(self._session[name])

    def accessed(self) -> bool:
        """Tell whether the application looked at the session in this request."""
        return self._accessed

    def dirty(self) -> bool:
        """Tell whether ``save`` or ``delete`` was called."""
        return self._dirty

    def save(self) -> None:
        """Have what is changed kept, later changes of this request too.

        Once the response has started it only takes over what was changed until now.
        """
        self._dirty = True
        if self._started:
            self.persist()

    def persist(self) -> None:
        """Take over what was changed, if it is to be kept; it is committed with the response."""
        values = self._values
        if values is None or not (self._dirty or self._auto):
            return
        kept = {name: value for name, value in values.items() if name not in (_CREATED, _ACCESSED)}
        # What was changed in the session itself since the copy was made stays.
        for name in self._before.keys() - kept.keys():
            self._session.pop(name, None)
        changed = {
            name: value for name, value in kept.items()
            if name not in self._before or not _is_same(value, self._before[name])
        }
        if changed:
            self._session.update(changed)
        # The values are the session's own now: who goes on needs a copy again.
        self._values = None

    def start_response(self) -> None:
        """Note that the application starts its response: Beaker saves at this moment."""
        self.persist()
        self._started = True

    def delete(self) -> None:
        """End the session on every node, and delete the cookie."""
        self.invalidate()
        self._dirty = True

    def invalidate(self) -> None:
        """End the session on every node; what is saved afterwards begins a new one."""
        self._accessed = True
        self._session.invalidate()
        self._values = None

    def regenerate_id(self) -> None:
        """Give the session a new id and end the old one: at each login."""
        self._accessed = True
        self._session.rotate()

    def load(self) -> None:
        """Read the session again, as others have left it by now; what is not saved is lost."""
        self._session.reload()
        self._values = None

    def revert(self) -> None:
        """Drop what was changed in this request and not taken over."""
        self._values = None

    def lock(self) -> None:
        """Do nothing: there is no lock, requests at the same time merge."""

    def unlock(self) -> None:
        """Do nothing, as ``lock``."""

    def get_by_id(self, id: str) -> Mapping[str, Any] | None:
        """Return what the session with this id holds, to read; None where there is none."""
        manager: SessionManager = self._manager()
        visit = manager.open((id,))
        try:
            if visit.missing:
                manager.fetch(visit)
            session: Any = visit.session
            return None if visit.key is None else MappingProxyType(session.copy())
        finally:
            manager.close(visit)


def _is_same(one: Any, other: Any) -> bool:
    """Tell whether two values are stored alike; 1 and True are not."""
    try:
        return encode_value(one) == encode_value(other)
    except SessionError:
        return False  # the commit will say what is wrong


def _read_options(
    config: Mapping[str, Any], keywords: Mapping[str, Any]
) -> tuple[dict[str, Any], bool]:
    """Return the options of our middleware, and whether Beaker's ``auto`` is on."""
    theirs: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for name, value in config.items():
        if name.startswith(_OUR_PREFIX):
            options[name.removeprefix(_OUR_PREFIX)] = value
        elif (short := _without_prefix(name)) is not None:
            theirs[short] = value
        # Beaker is given whole .ini files, with the settings of everybody.
    for name, value in keywords.items():
        short = _without_prefix(name)
        # By keyword ``secret`` is our setting, as in every other middleware.
        if short is None and name != "secret" and _is_beakers(name):
            short = name
        if short is None:
            options[name] = value
        else:
            theirs[short] = value
    auto = _is_true(theirs.pop("auto", False))
    translated = _translated(theirs)
    for name in translated:
        if options.get(name) is not None:
            raise ConfigurationError(f"{name} is given twice, once by Beaker's name for it")
    return {**options, **translated}, auto


def _translated(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return Beaker's options by the names of ours, and say which have no effect."""
    problems: list[str] = []
    options: dict[str, Any] = {}
    for name, value in theirs.items():
        written = f"session.{name}"
        if value is None or value == "":
            continue
        if name in _REFUSED and not (name == "use_cookies" and _is_true(value)):
            problems.append(f"{written} cannot be given: {_REFUSED[name]}")
        elif name == "cookie_expires" and isinstance(value, datetime):
            problems.append(f"{written} must be a bool, seconds or a timedelta, not a datetime")
        elif name in _NO_EFFECT or name.startswith("sa."):
            _log.warning("%s has no effect: %s", written, _NO_EFFECT.get(name, _OWN_STORE))
        elif name in ("secret", "validate_key"):
            options.setdefault(_TRANSLATED[name], value)
        elif name in _TRANSLATED:
            value = _cookie_lifetime_s(value) if name == "cookie_expires" else value
            options[_TRANSLATED[name]] = Said(written, value)
        elif name not in _REFUSED:
            problems.append(
                f"{written} is no option of Beaker; one of ours is written {_OUR_PREFIX}{name}"
            )
    if problems:
        raise ConfigurationError("\n".join(problems))
    return options


def _without_prefix(name: str) -> str | None:
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return None


def _is_beakers(name: str) -> bool:
    return name == "auto" or name in _TRANSLATED or name in _NO_EFFECT or name in _REFUSED


def _is_true(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in ("true", "yes", "on", "y", "t", "1")
    return bool(value)


def _cookie_lifetime_s(value: object) -> object:
    """Return the cookie's lifetime: True is Beaker's word for the browser's, False for ever."""
    word = value.strip().lower() if isinstance(value, str) else value
    if word is True or word == "true":
        return 0
    if word is False or word == "false":
        return BOUNDS["cookie_max_age_s"][1]
    return value


__all__ = ["BeakerSession", "SessionMiddleware"]
