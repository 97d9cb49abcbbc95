"""Knows the web frameworks' names for our settings, and derives our secret from theirs."""

import hmac
from collections.abc import Mapping
from typing import Any

from clustersession.core.errors import ConfigurationError
from clustersession.settings.guessable import MARK, why_guessable

STARLETTE_NAMES = {
    "session_cookie": "cookie_name",
    "max_age": "cookie_max_age_s",
    "path": "cookie_path",
    "same_site": "cookie_samesite",
    "https_only": "cookie_secure",
    "domain": "cookie_domain",
    "partitioned": "cookie_partitioned",
}

STARSESSIONS_NAMES = {"cookie_same_site": "cookie_samesite", "cookie_https_only": "cookie_secure"}
STARSESSIONS_REFUSED = {
    "store": "sessions live in this process's node; distributable=True shares them between hosts",
    "lifetime": "use cookie_max_age_s for the cookie, idle_timeout_s and absolute_timeout_s for "
    "the session",
    "rolling": "idle_timeout_s always rolls and absolute_timeout_s never does",
    "serializer": "values are stored with their types; clustersession.register adds types",
}
"""What starsessions calls by another name, and what it has that means something else here."""


def our_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a middleware's options by the names of our settings. Raises ConfigurationError."""
    refused = [f"{n}: {why}" for n, why in STARSESSIONS_REFUSED.items() if n in options]
    if refused:
        raise ConfigurationError("\n".join(refused))
    names = {**STARLETTE_NAMES, **STARSESSIONS_NAMES}
    ours = {names.get(name, name): value for name, value in options.items()}
    if "secret_key" in ours:
        framework_key = ours.pop("secret_key")
        ours.setdefault("secret", derive_secret(str(framework_key)))
    if ours.get("cookie_max_age_s", 0) is None:
        ours["cookie_max_age_s"] = 0
    if ours.get("cookie_domain", "") is None:
        ours["cookie_domain"] = ""
    return ours


def derive_secret(framework_key: str | bytes) -> str:
    """Derive a cluster secret from the framework's secret key, without revealing that key.

    One that can be guessed leaves its mark on it, because afterwards it could not be told.
    """
    key = framework_key.encode() if isinstance(framework_key, str) else framework_key
    if not key:
        raise ConfigurationError("the web framework's secret key is empty")
    # HKDF (RFC 5869) of one block, and not that of ``cryptography``: workers derive this, and under
    # mod_wsgi a second interpreter of a process cannot import that package.
    extracted = hmac.digest(b"clustersession secret 1", key, "sha256")
    derived = hmac.digest(extracted, b"from the framework's secret key\x01", "sha256").hex()
    return MARK + derived if why_guessable(framework_key) else derived
