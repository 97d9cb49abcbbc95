"""Knows the types that an application registered, to be kept in sessions under a name.

A value is stored as its name and what its ``encode`` made of it. The name is the version: nodes
that do not know it leave the attribute out and keep its bytes, so that old and new code can run
side by side. Registering must be done by all processes alike, at import.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from clustersession.core.errors import ConfigurationError
from clustersession.wire.value_types import BUILT_IN

Encode = Callable[[Any], object]
Decode = Callable[[Any], object]
_T = TypeVar("_T")

_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")


class Registered(NamedTuple):
    """Says how values of one type are written."""

    name: str
    encode: Encode


_by_type: dict[type, Registered] = {}
_decoders: dict[str, Decode] = {}
_on_change: list[Callable[[], None]] = []


def register(
    kind: type[_T],
    name: str,
    encode: Callable[[_T], object],
    decode: Callable[[Any], _T],
    *,
    older: Mapping[str, Callable[[Any], _T]] | None = None,
) -> None:
    """Let sessions hold values of exactly this type; a subclass is registered by itself.

    encode: makes a value that sessions can hold, other registered types included. The same value
        must always give the same result, because changes are found by comparing it.
    decode: makes the value again from that.
    name: what is stored with each value, 1 to 100 of A-Z a-z 0-9 _ . : / -. When what encode makes
        changes, take a new name ("money.2").
    older: decoders for names of earlier versions, which are read and not written any more.

    To change the form of a type while nodes of both versions run, first deploy the new name as a
    decoder everywhere (in ``older``), then write it. Raises ConfigurationError for a type that
    sessions hold anyway, and for a type or name that is registered already in another way.
    """
    decoders: dict[str, Decode] = {name: decode, **(older or {})}
    _check(kind, Registered(name, encode), decoders)
    _by_type[kind] = Registered(name, encode)
    _decoders.update(decoders)
    for forget in _on_change:
        forget()


def _check(kind: Any, wanted: Registered, decoders: Mapping[str, Decode]) -> None:
    """Raise ConfigurationError for a registration that cannot be."""
    if not isinstance(kind, type):
        raise ConfigurationError(f"register takes a type, not {kind!r:.80}")
    if kind in BUILT_IN:
        raise ConfigurationError(f"{kind.__name__} cannot be registered; sessions have their own "
                                 "way with it")
    for name in decoders:
        if _NAME.fullmatch(str(name)) is None:
            raise ConfigurationError(
                f"{name!r:.80} is no name to register {kind.__qualname__} under: 1 to 100 of A-Z "
                "a-z 0-9 _ . : / -"
            )
    known = _by_type.get(kind)
    if known is not None and known != wanted:
        raise ConfigurationError(f"{kind.__qualname__} is registered already, as {known.name!r}")
    for name, decoder in decoders.items():
        if _decoders.get(name, decoder) != decoder:
            raise ConfigurationError(f"another type is registered as {name!r} already")


def unregister(kind: type) -> None:
    """Forget a type and the names it is written and read by; for tests."""
    known = _by_type.pop(kind, None)
    if known is not None:
        _decoders.pop(known.name, None)
    for forget in _on_change:
        forget()


def registered(kind: Any) -> Registered | None:
    """Return how values of exactly this type are written, if an application said so."""
    return _by_type.get(kind)


def decoder_of(name: str) -> Decode | None:
    """Return what reads values stored under a name."""
    return _decoders.get(name)


def on_change(forget: Callable[[], None]) -> None:
    """Have ``forget`` called after each registration, when what is known of types may be wrong."""
    _on_change.append(forget)
