"""A session nobody has looked at yet: every method loads first and then hands over.

Loading turns the object into a plain ``Session``, so that later reads, ``json.dumps`` and
``{**session}`` run at the speed of dict. The names of the attributes are in the dict from the
start, because C code such as the JSON encoder looks at the size without calling any method.
"""

from collections.abc import Callable, Iterable
from typing import Any

from clustersession.core.errors import WireError
from clustersession.core.state import SYSTEM_PREFIX
from clustersession.session.changes import Original, is_immutable
from clustersession.session.session import Session
from clustersession.wire.values import decode_value


class UntouchedSession(Session):
    """A session nobody has looked at yet."""

    __slots__ = ()

    def load(self) -> None:
        """Decode every attribute and become a plain Session."""
        self.__class__ = Session  # type: ignore[assignment]
        self.accessed = True
        state = self._state
        if state is None:
            return
        originals = self._originals
        for name, register in state.registers.items():
            data = register.value
            if data is None or name.startswith(SYSTEM_PREFIX):
                continue
            try:
                value = decode_value(data)
            except WireError as error:
                dict.pop(self, name, None)
                self._undecodable += (name,)
                self._keeper.undecodable(self._key or "", name, error)
                continue
            dict.__setitem__(self, name, value)
            originals[name] = Original(value, data)
            if not is_immutable(value):
                self._mutable.add(name)

    def mark_accessed(self) -> None:
        """Note that the application looked at the session, and load it.

        Whoever gets hold of the object may be C code that reads the dict without any method.
        """
        self.load()


def _loading_first(name: str) -> Callable[..., Any]:
    def method(self: Session, *arguments: Any, **keywords: Any) -> Any:
        self.load()
        return getattr(self, name)(*arguments, **keywords)

    method.__name__ = name
    return method


def _override(names: Iterable[str]) -> None:
    for name in names:
        setattr(UntouchedSession, name, _loading_first(name))


_override((
    "__contains__", "__delitem__", "__eq__", "__getitem__", "__ior__", "__iter__", "__len__",
    "__ne__", "__or__", "__repr__", "__reversed__", "__ror__", "__setitem__", "clear", "copy",
    "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values",
    "invalidate", "mark_modified",
))  # fmt: skip
