"""Knows the web frameworks' names for our settings, and derives our secret from theirs."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from clustersession.core.derivation import hkdf
from clustersession.core.errors import ConfigurationError
from clustersession.settings.guessable import MARK, why_guessable
from clustersession.settings.rules import BOUNDS
from clustersession.settings.sources import Said

STARLETTE_NAMES = {
    "session_cookie": "cookie_name",
    "max_age": "cookie_max_age_s",
    "path": "cookie_path",
    "same_site": "cookie_samesite",
    "https_only": "cookie_secure",
    "domain": "cookie_domain",
    "partitioned": "cookie_partitioned",
}

STARSESSIONS_NAMES = {
    "lifetime": "cookie_max_age_s",
    "cookie_same_site": "cookie_samesite",
    "cookie_https_only": "cookie_secure",
}
STARSESSIONS_REFUSED = {
    "store": "sessions live in this process's node; distributable=True shares them between hosts, "
             "with the URL of a Valkey or Redis as store also by way of that",
    "rolling": "idle_timeout_s always rolls and absolute_timeout_s never does",
    "serializer": "values are stored with their types; clustersession.register adds types",
}
"""What starsessions calls by another name, and what it has that means something else here."""

_LIFETIMES = ("max_age", "lifetime")
_NAMES = {**STARLETTE_NAMES, **STARSESSIONS_NAMES}


class Options(NamedTuple):
    """Holds a middleware's options by the names of our settings.

    given: what they say. implied: what follows from that where our own settings say nothing.
    """

    given: dict[str, Any]
    implied: dict[str, Any]


def our_names(options: Mapping[str, Any]) -> Options:
    """Return a middleware's options by the names of our settings. Raises ConfigurationError.

    An option of None is not given.
    """
    problems = [
        f"{name}: {why}" for name, why in STARSESSIONS_REFUSED.items()
        if options.get(name) is not None and not _is_our_store(name, options[name])
    ]
    given: dict[str, Any] = {}
    written_as: dict[str, str] = {}
    for name, value in options.items():
        ours = _NAMES.get(name, name)
        if value is None:
            if name not in STARSESSIONS_REFUSED:
                given.setdefault(ours, None)
        elif ours in written_as:
            problems.append(f"{written_as[ours]} and {name} are one setting; keep one of them")
        else:
            written_as[ours] = name
            given[ours] = value if ours == name else Said(name, value)
    if problems:
        raise ConfigurationError("\n".join(problems))
    framework_key = given.pop("secret_key", None)
    if framework_key is not None and given.get("secret") is None:
        given["secret"] = derive_secret(str(framework_key))
    return Options(given, _implied_by(options))


def _is_our_store(name: str, value: object) -> bool:
    # Theirs is an object, ours the text of a URL.
    return name == "store" and isinstance(value, str)


def _implied_by(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the idle timeout of whoever gives a lifetime by the framework's name for it.

    There it was the session's, too: for so long nobody had to log in again.
    """
    for name in _LIFETIMES:
        seconds = options.get(name)
        if isinstance(seconds, timedelta):
            seconds = seconds.total_seconds()
        try:
            if seconds is not None and 0 < float(seconds) <= BOUNDS["cookie_max_age_s"][1]:
                return {"idle_timeout_s": Said(name, seconds)}
        except (TypeError, ValueError):
            pass  # what is wrong with it is said of the cookie's
    return {}


def derive_secret(framework_key: str | bytes) -> str:
    """Derive a cluster secret from the framework's secret key, without revealing that key.

    One that can be guessed leaves its mark on it, because afterwards it could not be told.
    """
    key = framework_key.encode() if isinstance(framework_key, str) else framework_key
    if not key:
        raise ConfigurationError("the web framework's secret key is empty")
    derived = hkdf(key, b"clustersession secret 1", b"from the framework's secret key").hex()
    return MARK + derived if why_guessable(framework_key) else derived
