"""Describes what becomes of an attribute of Tomcat's: a row of the tables, its conversion.

Sources of the tables: the configuration reference of Tomcat 9.0, 10.1 and 11.0 (``config/cluster``,
``cluster-manager``, ``-channel``, ``-membership``, ``-interceptor``, ``-receiver``, ``-sender``,
``-valve``, ``-deployer`` and ``-listener``, ``manager``, ``sessionidgenerator``, ``engine``,
``context``, ``cookie-processor``), the cluster how-to, the servlet specification, and, where that
reference names a class without its attributes, the properties that the class can be given.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from clustersession.core.ids import derive_route, is_route


class Fate(StrEnum):
    """Names what becomes of an attribute; the value is the heading it stands under."""

    MAPPED = "mapped"
    NOT_NEEDED = "not needed"
    NO_EQUIVALENT = "no equivalent"
    TO_DECIDE = "to decide"


class Row(NamedTuple):
    """Describes one attribute. ``words``: why not needed, what to do instead, or how ours differs.

    ``setting``: ours; ``convert`` makes its value of Tomcat's text and raises ValueError with what
    there is to decide.
    """

    fate: Fate
    words: str
    setting: str = ""
    convert: Callable[[str], object] = str


Rows = dict[str, Row]
Table = dict[str, Rows]
"""By component, a class without its package or an element; then by attribute."""


def mapped(setting: str, convert: Callable[[str], object] = str, words: str = "") -> Row:
    """Make the row of an attribute that has a setting of ours."""
    return Row(Fate.MAPPED, words, setting, convert)


def not_needed(words: str, *names: str) -> Rows:
    """Make the rows of attributes that need nothing, for one reason."""
    return dict.fromkeys(names, Row(Fate.NOT_NEEDED, words))


def no_equivalent(words: str, *names: str) -> Rows:
    """Make the rows of attributes that nothing here stands for; say what to do instead."""
    return dict.fromkeys(names, Row(Fate.NO_EQUIVALENT, words))


def whole(text: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


def truth(text: str) -> bool:
    """Read a boolean. To Java anything but true is false; here it has to be one of the two."""
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def seconds_of_ms(text: str) -> float:
    """Turn milliseconds into seconds."""
    return whole(text) / 1000


def seconds(text: str) -> int:
    """Read seconds; below zero means never, which is 0 here."""
    return max(0, whole(text))


def seconds_of_minutes(text: str) -> int:
    """Turn ``<session-timeout>``'s minutes into seconds; 0 and below mean never, 0 here."""
    return max(0, 60 * whole(text))


def ports(text: str) -> int:
    """Read how many ports to try; with autoBind 0 Tomcat tries one all the same."""
    return max(1, whole(text))


def host(text: str) -> str:
    """Read an address, also one written as bytes: {10,0,0,1}."""
    if re.fullmatch(r"\{\s*-?\d+(\s*,\s*-?\d+){3}\s*\}", text):
        return ".".join(str(int(part) % 256) for part in text.strip("{} ").split(","))
    return text


def name(text: str) -> str:
    """Take a domain as the cluster's name; bytes in braces are no name."""
    if text.startswith("{"):
        raise ValueError("bytes are no name; choose one of letters, digits, _ . and -")
    return text


def route(text: str) -> str:
    """Take a jvmRoute as our route, where it is a legal one."""
    if not is_route(text):
        raise ValueError(
            "a route is 1 to 32 letters, digits and _ here, because balancers cut at other "
            f"characters; for example {derive_route(text)!r}, and the same in the balancer"
        )
    return text


_OPTIONS = {"byte": 1, "use_ack": 2, "sync": 4, "synchronized_ack": 4, "async": 8,
            "asynchronous": 8, "secure": 16, "udp": 32, "multicast": 64}


def send_options(text: str) -> str:
    """Turn channelSendOptions, a sum of flags or their names, into ``ack``."""
    try:
        flags = int(text, 0)
    except ValueError:
        flags = 0
        for word in text.split(","):
            short = word.strip().lower().removeprefix("channel.").removeprefix("send_options_")
            if short not in _OPTIONS:
                raise ValueError(f"{word.strip()!r} is no send option") from None
            flags |= _OPTIONS[short]
    if flags & _OPTIONS["use_ack"] and not flags & _OPTIONS["async"]:
        return "all"
    return "one"


def replicated_only(pattern: str) -> list[str]:
    """Turn a filter that names what is replicated into a list of what is not."""
    return [_readable(rf"(?!(?:{pattern})\Z)(?s:.*)")] if pattern else []


def patterns(pattern: str) -> list[str]:
    """Turn a filter of paths into a list."""
    return [_readable(pattern)] if pattern else []


def _readable(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"Python does not read this expression of Java's: {error}") from None
    return pattern


def everywhere(text: str) -> str:
    """Turn notifyListenersOnReplication into ``events``."""
    return "everywhere" if truth(text) else "once"


def rewriting(enabled: str) -> str:
    """Turn JvmRouteBinderValve's enabled into ``rewrite``."""
    return "failover" if truth(enabled) else "never"


def samesite(text: str) -> str:
    """Turn sameSiteCookies into ``cookie_samesite``; unset is the empty text."""
    return "" if text.lower() == "unset" else text.lower()


def path_parameter(mode: str) -> str:
    """Turn a tracking mode into ``url_parameter``."""
    return "jsessionid" if mode.upper() == "URL" else ""
