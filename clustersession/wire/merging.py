"""Is the types whose concurrent changes merge when an attribute of a session holds them.

Each is a subclass of the built-in type that it stands for and is used like it: it notes nothing
itself, what was changed is found by comparing with what is stored. Elsewhere than as the value of
an attribute, such as inside another value, it is stored as the plain type.
"""

from typing import Any, Self


class Counter(int):
    """Is a number whose concurrent increments add up: ``session["hits"] += 1``.

    Adding an int to it, or taking one off, gives a ``Counter`` that goes on counting; so does
    ``int`` in front of it. ``int(counter)`` is the plain number. Assigning a ``Counter(...)`` made
    by hand sets the count anew.
    """

    _follows: bool

    def __new__(cls, value: int = 0) -> Self:
        counter = super().__new__(cls, value)
        counter._follows = False
        return counter

    @property
    def follows(self) -> bool:
        """Tell whether it was made by counting on from what the session held."""
        return self._follows

    def following(self) -> Self:
        """Return the same number as one that goes on counting."""
        counter = type(self)(self)
        counter._follows = True
        return counter

    def _made(self, value: Any, follows: bool) -> Any:
        if type(value) is not int:
            return value
        counter = type(self)(value)
        counter._follows = follows
        return counter

    def __add__(self, other: Any) -> Any:
        return self._made(int.__add__(self, other), self._follows)

    def __sub__(self, other: Any) -> Any:
        return self._made(int.__sub__(self, other), self._follows)

    __radd__ = __add__

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (int(self),)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


class MergingList(list[Any]):
    """Is a list whose concurrent appends both stay, and whose removals remove what was seen."""

    def __add__(self, other: Any) -> Any:
        joined = list.__add__(self, other)
        return joined if joined is NotImplemented else type(self)(joined)

    def copy(self) -> Self:
        """Do what list.copy does."""
        return type(self)(self)


class MergingDict(dict[Any, Any]):
    """Is a dict whose keys merge one by one: of two values for one key the later write counts."""

    def __or__(self, other: Any) -> Any:
        joined = dict.__or__(self, other)
        return joined if joined is NotImplemented else type(self)(joined)

    def copy(self) -> Self:
        """Do what dict.copy does."""
        return type(self)(self)


class MergingSet(set[Any]):
    """Is a set whose elements merge one by one: concurrent additions all stay."""

    def __or__(self, other: Any) -> Any:
        return self._made(set.__or__(self, other))

    def __and__(self, other: Any) -> Any:
        return self._made(set.__and__(self, other))

    def __sub__(self, other: Any) -> Any:
        return self._made(set.__sub__(self, other))

    def __xor__(self, other: Any) -> Any:
        return self._made(set.__xor__(self, other))

    def _made(self, joined: Any) -> Any:
        return joined if joined is NotImplemented else type(self)(joined)

    def copy(self) -> Self:
        """Do what set.copy does."""
        return type(self)(self)


MERGING: frozenset[type] = frozenset({Counter, MergingList, MergingDict, MergingSet})

__all__ = ["MERGING", "Counter", "MergingDict", "MergingList", "MergingSet"]
