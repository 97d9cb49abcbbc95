"""A session nobody has looked at yet: every method loads first and then hands over.

Loading turns the object into a plain ``Session``, so that later reads, ``json.dumps`` and
``{**session}`` run at the speed of dict. The names of the attributes are in the dict from the
start, because C code such as the JSON encoder looks at the size without calling any method.
"""

from collections.abc import Callable, Iterable
from typing import Any

from clustersession.session.changes import visible_values
from clustersession.session.session import Session


class UntouchedSession(Session):
    """A session nobody has looked at yet."""

    __slots__ = ()

    def load(self) -> None:
        """Decode every attribute and become a plain Session."""
        self.__class__ = Session  # type: ignore[assignment]
        self.accessed = True
        if self._state is not None:
            self.decode(visible_values(self._state.registers))

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
    "areload", "invalidate", "mark_modified", "reload",
))  # fmt: skip
