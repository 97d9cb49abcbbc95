"""Translates the configuration of a Flask or Quart application into settings.

The settings of Flask and Quart are honoured under their own names. So are those of Flask-Session
that mean something here; the others, which choose and tune a database, are accepted with one
warning each that says what stands in their place.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol

from clustersession.core.errors import ConfigurationError
from clustersession.requests.opening import refuse_url_parameter
from clustersession.session.events import Events
from clustersession.settings.framework import derive_secret
from clustersession.settings.rules import BOUNDS
from clustersession.settings.settings import Settings
from clustersession.settings.sources import check_sources, load_with_implied
from clustersession.worker.runtime import Runtime

_log = logging.getLogger("clustersession")

_PREFIX = "CLUSTERSESSION_"
_COOKIE_NAME_DEFAULT = "session"
_RANDOM_BYTES = 16

_OWN_STORE = "sessions are held by the cluster itself, in CLUSTERSESSION_STATE_DIR"
_NO_SETTING_LEFT: dict[str, str] = {
    "SESSION_TYPE": _OWN_STORE,
    "SESSION_KEY_PREFIX":
        "applications are kept apart by CLUSTERSESSION_CLUSTER_NAME and CLUSTERSESSION_STATE_DIR",
    "SESSION_CLEANUP_N_REQUESTS": "expired sessions are removed in the background",
    "SESSION_REDIS": _OWN_STORE,
    "SESSION_MEMCACHED": _OWN_STORE,
    "SESSION_CACHELIB": _OWN_STORE,
    "SESSION_FILE_DIR": "CLUSTERSESSION_STATE_DIR says where this host keeps its copy",
    "SESSION_FILE_THRESHOLD": "CLUSTERSESSION_MAP_BYTES bounds this host's copy",
    "SESSION_FILE_MODE": "files are always readable by their owner alone",
    "SESSION_MONGODB": _OWN_STORE,
    "SESSION_MONGODB_DB": _OWN_STORE,
    "SESSION_MONGODB_COLLECT": _OWN_STORE,
    "SESSION_SQLALCHEMY": _OWN_STORE,
    "SESSION_SQLALCHEMY_TABLE": _OWN_STORE,
    "SESSION_SQLALCHEMY_SEQUENCE": _OWN_STORE,
    "SESSION_SQLALCHEMY_SCHEMA": _OWN_STORE,
    "SESSION_SQLALCHEMY_BIND_KEY": _OWN_STORE,
    "SESSION_DYNAMODB": _OWN_STORE,
    "SESSION_DYNAMODB_TABLE": _OWN_STORE,
}
"""Settings of Flask-Session that say nothing here, and what stands in their place."""

_FIXED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "SESSION_USE_SIGNER": (bool, "ids are always signed"),
    "SESSION_ID_LENGTH": (
        lambda value: int(value) <= _RANDOM_BYTES,
        f"ids always have {_RANDOM_BYTES} random bytes and a signature",
    ),
    "SESSION_SERIALIZATION_FORMAT": (
        lambda value: value == "msgpack", "values are always encoded with msgpack",
    ),
}
"""Settings of Flask-Session of which we do one thing: which values ask for it, and what it is."""


_IMPLIED = frozenset({"secret", "absolute_timeout_s", "legacy_cookie_secret"})
"""Settings that every application of Flask implies, by SECRET_KEY and by a default lifetime."""


class ConfiguredApp(Protocol):
    """Names what is asked of an application: Flask's and Quart's have it."""

    @property
    def config(self) -> Any:
        """Return the configuration, a dict."""
        ...

    @property
    def before_request_funcs(self) -> Any:
        """Return per blueprint what runs before a request; None stands for the application."""
        ...

    @property
    def permanent_session_lifetime(self) -> timedelta:
        """Return PERMANENT_SESSION_LIFETIME, read."""
        ...


def make_runtime(
    app: ConfiguredApp, options: Mapping[str, Any], listeners: Events | None = None
) -> Runtime:
    """Make the runtime that an application's configuration asks for; ``options`` come first.

    Raises ConfigurationError.
    """
    config = app.config
    settings, implied = load_with_implied(_from_framework(config), _given(config, options))
    if settings.cookie_name == _COOKIE_NAME_DEFAULT:
        _log.warning(
            "the session cookie is named %r: Apache httpd prefers a query parameter of that name "
            "when it looks for the route", settings.cookie_name,
        )
    refuse_url_parameter(
        settings,
        "it works with clustersession.asgi and clustersession.wsgi. Flask and Quart look at the "
        "path before they open the session",
    )
    for warning in without_effect(config):
        _log.warning("%s", warning)
    lifetime_s = _permanent_lifetime_s(app)
    if not settings.absolute_timeout_s:
        implied |= {"absolute_timeout_s"}
    return Runtime(
        _allow_lifetime(settings, lifetime_s),
        permanent_lifetime_s=lifetime_s,
        sliding=bool(config["SESSION_REFRESH_EACH_REQUEST"]),
        listeners=listeners,
        implied=implied & _IMPLIED,
    )


def check_so_far(app: ConfiguredApp, options: Mapping[str, Any]) -> None:
    """Refuse what is wrong already while the application is made: then its server does not start.

    The rest of the configuration may follow, so the settings are read later. Raises
    ConfigurationError.
    """
    check_sources(**_given(app.config, options))
    _permanent_lifetime_s(app)


def without_effect(config: Mapping[str, Any]) -> list[str]:
    """Say for each setting of Flask-Session without effect what stands in its place."""
    said = {
        name: instead
        for name, instead in _NO_SETTING_LEFT.items()
        if config.get(name) is not None
    }
    for name, (asks_for_ours, instead) in _FIXED.items():
        if config.get(name) is not None and not asks_for_ours(config[name]):
            said[name] = instead
    return [f"{name} has no effect: {instead}" for name, instead in said.items()]


def _ours(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return our settings in a configuration, by name."""
    given: dict[str, Any] = {
        name.removeprefix(_PREFIX).lower(): value
        for name, value in config.items()
        if name.startswith(_PREFIX)
    }
    if given.get("distributable") is None and "DISTRIBUTABLE" in config:
        given["distributable"] = config["DISTRIBUTABLE"]
    return given


def _given(config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return our settings in a configuration and in the options, which come first."""
    given = _ours(config)
    # An option of None is not given, and hides nothing; an unknown name is refused all the same.
    given.update({n: v for n, v in options.items() if v is not None or n not in given})
    return given


def _from_framework(config: Mapping[str, Any]) -> dict[str, object]:
    """Return what the framework's own settings say, by our names."""
    found: dict[str, object] = {
        "cookie_path": config["SESSION_COOKIE_PATH"] or config["APPLICATION_ROOT"] or "/",
        "cookie_domain": config["SESSION_COOKIE_DOMAIN"] or "",
        "cookie_secure": bool(config["SESSION_COOKIE_SECURE"]),
        "cookie_httponly": bool(config["SESSION_COOKIE_HTTPONLY"]),
        "cookie_partitioned": bool(config.get("SESSION_COOKIE_PARTITIONED")),
    }
    if config["SESSION_COOKIE_SAMESITE"]:
        found["cookie_samesite"] = config["SESSION_COOKIE_SAMESITE"]
    if config["SESSION_COOKIE_NAME"] != _COOKIE_NAME_DEFAULT:
        found["cookie_name"] = config["SESSION_COOKIE_NAME"]
    keys = [config["SECRET_KEY"], *(config.get("SECRET_KEY_FALLBACKS") or ())]
    if secrets := [derive_secret(key) for key in keys if key]:
        found["secret"] = secrets
    if config.get("SESSION_USE_SIGNER"):
        found["legacy_cookie_secret"] = [str(key) for key in keys if key]
    return found


def _allow_lifetime(settings: Settings, lifetime_s: float) -> Settings:
    """Let no session, by default, end before its permanent lifetime could."""
    if settings.absolute_timeout_s:
        return settings
    absolute_s = max(settings.effective_absolute_timeout_s, 4 * lifetime_s)
    return replace(settings, absolute_timeout_s=min(absolute_s, BOUNDS["absolute_timeout_s"][1]))


def _permanent_lifetime_s(app: ConfiguredApp) -> float:
    """Return PERMANENT_SESSION_LIFETIME. Raises ConfigurationError where no session can have it."""
    lifetime_s = app.permanent_session_lifetime.total_seconds()
    lowest_s, highest_s = BOUNDS["idle_timeout_s"]
    if not lowest_s <= lifetime_s <= highest_s:
        raise ConfigurationError(
            f"PERMANENT_SESSION_LIFETIME is {lifetime_s:,.0f} seconds; it must be between "
            f"{lowest_s:,} and {highest_s:,}"
        )
    return lifetime_s
