"""Reads containers of an application's or framework's own class as the plain ones they stand for.

A value is what it reads as, and so does JSON in the frameworks' own sessions see it: a named tuple
is its items in order, a multi-dict (a form) has under each key the one value that ``form[key]``
gives.
"""

from collections.abc import Mapping
from typing import Any

_OF_MULTI_DICTS = ("getlist", "getall")
"""What multi-dicts have that are no dicts: werkzeug's and starlette's names, multidict's name."""


def is_multi_dict(kind: type) -> bool:
    """Tell whether a class is a mapping with several values under a key."""
    return issubclass(kind, Mapping) and any(hasattr(kind, name) for name in _OF_MULTI_DICTS)


def plain_dict(value: Any) -> dict[Any, Any]:
    """Make a dict of what a dict of another class, or a multi-dict, reads as."""
    if isinstance(value, dict):
        return dict(value.items())
    return {key: value[key] for key in value}


def plain_container(value: object) -> object:
    """Return what a container reads as, a plain dict or list; anything else comes back itself."""
    kind = type(value)
    if kind is dict or kind is list or kind is tuple:
        return value
    if isinstance(value, dict) or is_multi_dict(kind):
        return plain_dict(value)
    return list(value) if isinstance(value, (list, tuple)) else value
