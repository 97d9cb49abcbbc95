"""Reads the plain data in a pickle without loading it.

Nothing is imported and nothing is called that the bytes name: the opcodes are listed by
``pickletools``, and only those that make plain data are followed here. Whatever stands for an
object of a class comes out as an ``Opaque``, which names the class and holds nothing; the few types
of the standard library that a session may hold are made by our own table.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

OPCODES_MAX = 200_000
_MARK = object()


class NotPlain(ValueError):
    """These bytes are no pickle of plain data."""


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """Stands for a class, or an object of one, that is not looked into."""

    name: str


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": set,
}
_LITERALS = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING",
    "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
})
_OF_MARKED: dict[str, Callable[[list[Any]], Any]] = {
    "TUPLE": tuple, "LIST": list, "FROZENSET": frozenset,
    "DICT": lambda items: dict(zip(items[::2], items[1::2], strict=True)),
}
_MADE: dict[str, Callable[..., Any]] = {
    "datetime.datetime": datetime, "datetime.date": date, "datetime.time": time,
    "datetime.timedelta": timedelta, "decimal.Decimal": Decimal,
}


def read_plain_pickle(data: bytes) -> Any:
    """Read the data; raise NotPlain, and nothing else, whatever else the bytes may be."""
    try:
        return _PickleMachine().read(data)
    except NotPlain:
        raise
    except Exception as error:  # whatever pickletools or a container makes of hostile bytes
        raise NotPlain(f"{type(error).__name__}") from error


class _PickleMachine:
    """Follows the opcodes that make plain data.

    State, as in the pickle protocol: ``_stack`` has values and marks; ``_memo``, what was put
    aside, by its number.
    """

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def read(self, data: bytes) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count >= OPCODES_MAX:
                raise NotPlain("too long")
            if opcode.name == "STOP":
                result = self._pop()
                if self._stack:
                    raise NotPlain("more than one value")
                return result
            self._step(opcode.name, argument)
        raise NotPlain("no end")

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _OF_MARKED:
            stack.append(_OF_MARKED[name](self._marked()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            size = int(name[-1])
            items = tuple(self._pop() for _ in range(size))[::-1]
            stack.append(items)
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS"):
            self._fill(name)
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name not in ("PROTO", "FRAME"):
            self._object(name, argument)

    def _fill(self, name: str) -> None:
        many = name.endswith("S")
        if many:
            items = self._marked()
        else:
            items = [self._pop() for _ in range(2 if name == "SETITEM" else 1)][::-1]
        target = self._stack[-1]
        if isinstance(target, Opaque):
            return
        if name.startswith("SETITEM") and type(target) is dict:
            target.update(zip(items[::2], items[1::2], strict=True))
        elif name == "ADDITEMS" and type(target) is set:
            target.update(items)
        elif name.startswith("APPEND") and type(target) is list:
            target.extend(items)
        else:
            raise NotPlain("items for what takes none")

    def _object(self, name: str, argument: Any) -> None:
        """Put an Opaque where the pickle would import or call something."""
        stack = self._stack
        if name == "GLOBAL":
            stack.append(Opaque(str(argument).replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            attribute, module = self._pop(), self._pop()
            stack.append(Opaque(f"{module}.{attribute}"))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, of = self._pop(), self._pop()
            if not isinstance(of, Opaque) or type(arguments) is not tuple:
                raise NotPlain(name)
            stack.append(_made(of, arguments) if name == "REDUCE" else of)
        elif name == "NEWOBJ_EX":
            self._pop(), self._pop()
        elif name == "BUILD":
            self._pop()
            if not isinstance(stack[-1], Opaque):
                raise NotPlain(name)
        else:
            raise NotPlain(f"opcode {name}")

    def _pop(self) -> Any:
        item = self._stack.pop()
        if item is _MARK:
            raise NotPlain("a mark where a value should be")
        return item

    def _marked(self) -> list[Any]:
        items: list[Any] = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]


def _made(of: Opaque, arguments: tuple[Any, ...]) -> Any:
    make = _MADE.get(of.name)
    if make is None or not all(type(a) in (int, str, bytes) for a in arguments):
        return of
    return make(*arguments)
