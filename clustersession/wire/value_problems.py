"""Walks a value that cannot be stored again, in the packer's order, to say why.

Only runs after the fast path has failed, so that the fast path need not keep track of where it is.
"""

import re
from collections.abc import Callable
from enum import Enum
from typing import Any

from clustersession.wire.collisions import EQUAL_HASHES_MAX, collide
from clustersession.wire.containers import plain_container
from clustersession.wire.registered import Registered
from clustersession.wire.value_types import CONTAINERS

DEPTH_MAX = 500
"""Deeper than msgpack goes: a value that is nested so far cannot have been encoded."""

_BY_THE_PACKER = frozenset({type(None), bool, float, str, bytes, list, dict})
"""What msgpack encodes without asking for an encoder."""

Encoder = Callable[[Any, int], Any]


def explain(
    value: object,
    key: str,
    error: Exception,
    encoder_of: Callable[[Any], Encoder | None],
    registered: Callable[[Any], Registered | None],
) -> str:
    """Explain in one sentence why a value failed to encode with ``error``."""
    where = f"session[{key!r}]" if key else "the value"
    waiting: list[tuple[object, str, int]] = [(value, "", 0)]
    while waiting:
        current, path, depth = waiting.pop()
        if depth > DEPTH_MAX:
            return f"{where} is nested more than {DEPTH_MAX} levels deep or contains itself"
        if (known := registered(type(current))) is not None:
            try:
                content = known.encode(current)
            except Exception as raised:
                return (
                    f"{where}{path} is registered as {known.name!r}, and its encode raised "
                    f"{type(raised).__name__}: {raised}"
                )
            inside = _inside_registered(content, path)
            waiting.extend((item, place, depth + 1) for item, place in reversed(inside))
            continue
        inside = _inside(current, path)
        waiting.extend((item, place, depth + 1) for item, place in reversed(inside))
        if problem := _problem(current, encoder_of):
            return f"{where}{path} {problem}"
    if isinstance(error, (ValueError, RecursionError)):
        return f"{where} is nested too deeply or contains itself"
    return f"{where} cannot be stored ({error})"


def _inside_registered(content: Any, path: str) -> list[tuple[object, str]]:
    """List what a registered type was encoded as, with its place."""
    if type(content) is dict and all(isinstance(name, str) for name in content):
        # The usual form of an object: told apart from the keys of a dict by the dot.
        return [(item, _longer(path, f".{name:.60}")) for name, item in content.items()]
    return [(content, path)]


def _inside(value: object, path: str) -> list[tuple[object, str]]:
    """List what a container holds, in the packer's order, each with its place."""
    found: list[tuple[object, str]] = []
    try:
        value = plain_container(value)
    except Exception:
        return found  # then the container itself is the problem
    if isinstance(value, dict):
        for name, item in value.items():
            if type(name) is not str:
                found.append((name, _longer(path, f" key {_short(name)}")))
            found.append((item, _longer(path, f"[{_short(name)}]")))
    elif isinstance(value, (list, tuple, set, frozenset)):
        found = [(item, _longer(path, f"[{index}]")) for index, item in enumerate(value)]
    return found


def _short(name: object) -> str:
    try:
        return f"{name!r:.60}"
    except ValueError:
        # Python writes no integer of more than 4,300 digits.
        return f"{type(name).__name__} too long to be shown"


def _longer(path: str, segment: str) -> str:
    return path + segment if len(path) < 400 else path


def _problem(value: object, encoder_of: Callable[[Any], Encoder | None]) -> str | None:
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    encoder = encoder_of(kind)
    try:
        plain = plain_container(value)
        if encoder is not None and type(plain) not in CONTAINERS:
            encoder(value, 0)
    except Exception as error:
        return f"is a {name} that cannot be stored ({type(error).__name__}: {error})"
    if isinstance(plain, (dict, set, frozenset)) and collide(plain):
        return (
            f"is a {name} with more than {EQUAL_HASHES_MAX} elements of one hash, as no honest "
            "data has; keep what clients choose as str"
        )
    if encoder is not None or type(plain) in _BY_THE_PACKER:
        return None
    if isinstance(value, Enum):
        return f"is the enum member {name}.{value.name}; store its .value, or {_register(kind)}"
    if isinstance(value, (set, frozenset)):
        plain = "frozenset" if isinstance(value, frozenset) else "set"
        return f"is a {name}; convert it to a plain {plain} first, or {_register(kind)}"
    return (
        f"is of type {name}, which no session can carry; store something plainer, or "
        f"{_register(kind)}"
    )


def _register(kind: type) -> str:
    """Say by which line an application registers a type; ``wire.registered`` tells the rules."""
    encode, decode = "encode", "decode"
    if issubclass(kind, Enum):
        encode, decode = "lambda member: member.value", kind.__name__
    name = re.sub(r"[^A-Za-z0-9_.]", "", f"{kind.__module__}.{kind.__name__}")[-98:]
    return (
        "register it where it is defined: "
        f'clustersession.register({kind.__name__}, "{name}.1", {encode}, {decode})'
    )
