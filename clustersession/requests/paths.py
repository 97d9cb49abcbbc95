"""Finds excluded paths, and the id that a path carries."""

import re
from collections.abc import Callable, Sequence
from typing import ClassVar

from clustersession.core.errors import SessionError
from clustersession.session.manager import SessionManager
from clustersession.session.session import Session
from clustersession.session.visit import Visit


def path_excluder(patterns: Sequence[str]) -> Callable[[str], bool] | None:
    """Return what tells whether a path matches a pattern in full; None without patterns."""
    if not patterns:
        return None
    full_matches = [re.compile(pattern).fullmatch for pattern in patterns]
    return lambda path: any(match(path) is not None for match in full_matches)


class MisleadingPath(SessionError):
    """Is raised for a path that means something else once the id is taken out of it.

    To a proxy ``/public/..;name=x/admin`` lies below ``/public``, but the rest is
    ``/public/../admin``; that of ``/;name=x/evil.example`` is another host in a redirect.
    """


_DOTS = frozenset({".", ".."})
_LEADS_ELSEWHERE = _DOTS | {""}


class PathParameter:
    """Finds the id as Tomcat's path parameter, ``/cart;jsessionid=<id>.<route>``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._mark = f";{name}="
        self._pattern = re.compile(re.escape(self._mark) + r"([^;/]*)")
        self._raw_mark = self._mark.encode("latin-1")
        self._raw_pattern = re.compile(re.escape(self._raw_mark) + rb"([^;/?]*)")

    def split(self, path: str) -> tuple[str, str | None]:
        """Return the path without the parameter, and its last value, None when it is not there.

        Raises MisleadingPath when the rest would lead elsewhere than what a proxy's rules saw.
        """
        if self._mark not in path:
            return path, None
        values = self._pattern.findall(path)
        stripped = self._pattern.sub("", path)
        *inner, last = zip(path.split("/"), stripped.split("/"), strict=True)
        if any(after in _LEADS_ELSEWHERE for before, after in inner if before != after) or (
            last[1] in _DOTS and last[0] != last[1]
        ):
            raise MisleadingPath(f"the path leads elsewhere without its ;{self._name}")
        return stripped or "/", values[-1]

    def strip_raw(self, path: bytes) -> bytes:
        """Return the path, as the client sent it, without the parameter."""
        return self._raw_pattern.sub(b"", path) or b"/"


class ExcludedSession(Session):
    """Stands where a path is excluded: reads as empty, and refuses every change.

    ``why_not`` says why there is no session.
    """

    __slots__ = ()

    why_not: ClassVar[str] = "the path of this request matches a pattern of the setting exclude"

    def __init__(self, manager: SessionManager) -> None:
        super().__init__()
        # Nobody answers or saves it: the session holds its visit, and not the other way round.
        Visit(manager.context, self).release()

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("principal", "label", "idle_timeout", "lifetime", "permanent"):
            _refuse(self)
        super().__setattr__(name, value)


def _refuse(session: ExcludedSession, *_: object, **__: object) -> None:
    raise SessionError(f"there is no session here: {session.why_not}")


for _name in (
    "__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update",
    "mark_modified", "rotate", "invalidate", "swap", "aswap",
):  # fmt: skip
    setattr(ExcludedSession, _name, _refuse)
