"""Objects as JSON, and whether an object still means what was described."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import IntEnum
from typing import Any


def describe(value: Any) -> Any:
    """The value in terms of JSON; objects carry their kind, bytes are hexadecimal."""
    if is_dataclass(value) and not isinstance(value, type):
        named = {f.name: describe(getattr(value, f.name)) for f in fields(value)}
        return {"kind": type(value).__name__, **named}
    if hasattr(value, "_fields"):
        named = {name: describe(getattr(value, name)) for name in value._fields}
        return {"kind": type(value).__name__, **named}
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, IntEnum):
        return int(value)
    if isinstance(value, Mapping):
        return {str(describe(key)): describe(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(describe(item) for item in value)
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    return value


def spelled(value: Any) -> str:
    """A session value as Python writes it, with a fixed order of sets."""
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}({sorted(map(spelled, value))})"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(map(spelled, value))})"
    if isinstance(value, dict):
        return f"dict({', '.join(f'{spelled(k)}: {spelled(v)}' for k, v in value.items())})"
    return repr(value)


def differences(recorded: Any, found: Any, place: str = "") -> list[str]:
    """Where a description found differs from the one recorded.

    An object may have fields by now that the recording does not know.
    """
    if isinstance(recorded, dict) and isinstance(found, dict):
        names = recorded.keys() if "kind" in recorded else recorded.keys() | found.keys()
        return [
            line for name in sorted(names)
            for line in differences(
                recorded.get(name, "nothing"), found.get(name, "nothing"), f"{place}.{name}"
            )
        ]
    if isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        return [
            line for number, pair in enumerate(zip(recorded, found, strict=True))
            for line in differences(*pair, f"{place}[{number}]")
        ]
    same = type(recorded) is type(found) and recorded == found
    return [] if same else [f"{place}: {recorded!r} was recorded, {found!r} is read"]
