"""Keeps a session undecoded as long as nothing or little has been asked of it.

Reading and setting single attributes decodes what is read and nothing else. Every other method
loads first and then hands over: loading turns the object into a plain ``Session``, so that later
reads, ``json.dumps`` and ``{**session}`` run at the speed of dict. The names of the attributes are
in the dict from the start, because C code such as the JSON encoder looks at the size without
calling any method. Where there are none, a stand-in is: whoever is told that a session is empty has
read it, too.
"""

from collections.abc import Callable, Iterable
from typing import Any

from clustersession.core.reclaiming import NEVER_MS
from clustersession.session.changes import UNLOADED
from clustersession.session.session import Session
from clustersession.session.visit import SessionDict

_ABSENT: Any = object()
_STAND_IN: Any = UNLOADED
"""Is its own value too, so that no comparison takes it for a change."""


class UntouchedSession(Session):
    """Is a session of which nothing or little has been asked yet.

    ``_loaded_class`` is what it becomes; an adapter whose sessions have more methods has its own.
    """

    __slots__ = ()

    _loaded_class: type[Session] = Session

    def __getitem__(self, key: str) -> Any:
        value = self.get(key, _ABSENT)
        if value is _ABSENT:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        # One that cannot be read is not there.
        return self.get(key, _ABSENT) is not _ABSENT  # type: ignore[arg-type]

    def get(self, key: str, default: Any = None) -> Any:
        """Do what dict.get does."""
        self.accessed = True
        visit = self._visit
        untils = visit.attributes.untils
        if untils and untils.get(key, NEVER_MS) <= visit.context.now_ms():
            return default
        value = dict.get(self, key, default)
        if value is UNLOADED:
            visit.attributes.load(self, key)
            value = dict.get(self, key, default)
        return value

    def _load(self) -> None:
        """Decode every attribute and become a plain session, a ``_loaded_class``.

        While the time of some is limited, it stays what looks at that at each read.
        """
        attributes = self._visit.attributes
        if attributes.untils:
            self._visit.drop_expired()
        else:
            self.__class__ = self._loaded_class  # type: ignore[assignment]
        self.accessed = True
        dict.pop(self, _STAND_IN, None)
        attributes.load_all(self)

    def mark_accessed(self) -> None:
        """Note that the application looked at the session, and load it.

        Whoever gets hold of the object may be C code that reads the dict without any method.
        """
        self._load()


Session._checking_class = UntouchedSession


def hide_emptiness(session: SessionDict) -> None:
    """Have C code call a method of an empty session before it learns that there is nothing."""
    dict.__setitem__(session, _STAND_IN, UNLOADED)


def holds_attributes(session: SessionDict) -> bool:
    """Tell whether a session has any attribute, without reading it."""
    return not dict.keys(session) <= {_STAND_IN}


def _loading_first(name: str) -> Callable[..., Any]:
    def method(self: Session, *arguments: Any, **keywords: Any) -> Any:
        self._load()
        session = super(UntouchedSession, self) if isinstance(self, UntouchedSession) else self
        return getattr(session, name)(*arguments, **keywords)

    method.__name__ = name
    return method


def _override(names: Iterable[str]) -> None:
    for name in names:
        setattr(UntouchedSession, name, _loading_first(name))


_override((
    "__delitem__", "__eq__", "__ior__", "__iter__", "__len__", "__ne__", "__or__", "__repr__",
    "__reversed__", "__ror__", "__sizeof__", "clear", "copy", "items", "keys", "pop", "popitem",
    "setdefault", "update", "values", "areload", "invalidate", "mark_modified", "reload",
    "swap", "aswap",
))  # fmt: skip
