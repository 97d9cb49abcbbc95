"""Every way to look at a session: each has to make the response vary with the cookie.

What takes a session for a plain dict by name, such as ``dict.items(session)``, asks no method, and
nobody can notice it. It is told of a stand-in where there is nothing.
"""

import collections
import contextlib
import copy
import json
import operator
import pickle
import pprint
import string
import sys
import types
import urllib.parse
from collections.abc import Callable
from typing import Any

Way = Callable[[Any], object]


def _match(session: Any) -> object:
    match session:
        case {"user": user}:
            return user
        case _:
            return None


def _update(session: Any) -> object:
    target: dict[str, Any] = {}
    target |= session
    return target


def _execute(session: Any) -> object:
    exec("found = user", {}, session)
    return None


BY_NAME: dict[str, Way] = {
    "sid": lambda s: s.sid,
    "new": lambda s: s.new,
    "created_at": lambda s: s.created_at,
    "permanent": lambda s: s.permanent,
    "idle_timeout": lambda s: s.idle_timeout,
    "lifetime": lambda s: s.lifetime,
    "principal": lambda s: s.principal,
    "label": lambda s: s.label,
    "cluster": lambda s: s.cluster,
    "mark_accessed": lambda s: s.mark_accessed(),
    "mark_modified": lambda s: s.mark_modified(),
    "rotate": lambda s: s.rotate(),
    "invalidate": lambda s: s.invalidate(),
    "reload": lambda s: s.reload(),
    "areload": lambda s: s.areload().close(),
    "set": lambda s: s.set("user", "bob", expires_in=60),
    "expires_in": lambda s: s.expires_in("user"),
    "swap": lambda s: s.swap("user", "nobody", "bob"),
    "aswap": lambda s: s.aswap("user", "nobody", "bob").close(),
    "watch": lambda s: s.watch(),
    "clear": lambda s: s.clear(),
    "copy": lambda s: s.copy(),
    "get": lambda s: s.get("user"),
    "items": lambda s: s.items(),
    "keys": lambda s: s.keys(),
    "values": lambda s: s.values(),
    "pop": lambda s: s.pop("user", None),
    "popitem": lambda s: s.popitem(),
    "setdefault": lambda s: s.setdefault("user", "bob"),
    "update": lambda s: s.update(user="bob"),
}
"""The public names of a session that say something of it, or change it by what it holds."""

SAYS_NOTHING = {"accessed", "modified", "save", "asave", "fromkeys"}
"""Those that do not: what the request itself has done, and dict's own class method."""

BY_PYTHON: dict[str, Way] = {
    "[]": lambda s: s["user"],
    "del": lambda s: operator.delitem(s, "user"),
    "in": lambda s: "user" in s,
    "len": len,
    "bool": bool,
    "not": lambda s: not s,
    "==": lambda s: s == {},
    "== on the right": lambda s: {} == s,  # noqa: SIM300
    "!=": lambda s: s != {},
    "|": lambda s: s | {},
    "| on the right": lambda s: {} | s,
    "|=": lambda s: operator.ior(s, {}),
    "|= on the right": _update,
    "iter": lambda s: list(iter(s)),
    "reversed": lambda s: list(reversed(s)),
    "for": lambda s: [name for name in s],  # noqa: C416
    "star": lambda s: [*s],
    "two stars": lambda s: {**s},
    "keywords": lambda s: dict(**s),
    "match": _match,
    "list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "sorted": sorted,
    "dict": dict, "enumerate": lambda s: list(enumerate(s)), "any": any, "all": all,
    "max": lambda s: max(s, default=None),
    "fromkeys of dict": dict.fromkeys,
    "update of dict": lambda s: {}.update(s),  # type: ignore[var-annotated]
    "repr": repr, "str": str, "format": lambda s: f"{s}",
    "percent": lambda s: "%(user)s" % s,  # noqa: UP031
    "format_map": lambda s: "{user}".format_map(s),
    "template": lambda s: string.Template("$user").safe_substitute(s),
    "join": ",".join,
    "length_hint": operator.length_hint, "countOf": lambda s: operator.countOf(s, "user"),
    "getsizeof": sys.getsizeof,
    "copy.copy": copy.copy, "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps, "pickle 0": lambda s: pickle.dumps(s, 0),
    "json": json.dumps, "json indented": lambda s: json.dumps(s, indent=1),
    "json sorted": lambda s: json.dumps(s, sort_keys=True),
    "json nested": lambda s: json.dumps({"session": [s]}),
    "json iterencode": lambda s: "".join(json.JSONEncoder().iterencode(s)),
    "pprint": pprint.pformat,
    "urlencode": urllib.parse.urlencode,
    "ChainMap": lambda s: dict(collections.ChainMap(s)),
    "OrderedDict": collections.OrderedDict,
    "UserDict": collections.UserDict,
    "proxy": lambda s: len(types.MappingProxyType(s)),
    "exec": _execute,
    "a view used later": lambda s: (view := s.keys(), list(view)),
}
"""What Python and its C code do with a session without naming any method."""


def looked_at(way: Way) -> Way:
    """A view that looks at its session so, and says nothing of it; what is missing is no matter."""
    def view(session: Any) -> object:
        # Flask and Quart have a proxy before it, which C code knows nothing of.
        found = getattr(session, "_get_current_object", lambda: session)()
        with contextlib.suppress(KeyError, ValueError, NameError):
            way(found)
        return None

    return view

