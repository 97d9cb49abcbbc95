"""Translates Django's settings into ours, once per process.

Ours stand in ``settings.CLUSTERSESSION``, a dict of the settings by name, in capitals or not; they
go before the environment and the file (see ``settings.sources``). ``"LISTENERS"`` among them
is the dotted path of an ``Events`` with the project's callbacks (see ``session.events``), and
``"FOLLOW_LOGINS": False`` leaves it to the project to say whose a session is.
``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS`` are the secret from which the cluster's is derived
unless one is given.

Django itself writes the session cookie and says how long a session lasts. What ours say about the
same must agree: a ``cookie_secure`` that is accepted and does nothing is worse than an error.
"""

import threading
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from clustersession.core.errors import ConfigurationError
from clustersession.requests.opening import beyond_the_cookie
from clustersession.session.events import Events
from clustersession.session.manager import SessionManager
from clustersession.session.users import ClusterSessions
from clustersession.settings.framework import derive_secret
from clustersession.settings.settings import Settings
from clustersession.settings.sources import Said, load_settings
from clustersession.worker.runtime import Runtime

NAME = "CLUSTERSESSION"

_DJANGO_SAYS = {
    "cookie_name": "SESSION_COOKIE_NAME",
    "cookie_path": "SESSION_COOKIE_PATH",
    "cookie_domain": "SESSION_COOKIE_DOMAIN",
    "cookie_secure": "SESSION_COOKIE_SECURE",
    "cookie_httponly": "SESSION_COOKIE_HTTPONLY",
    "cookie_samesite": "SESSION_COOKIE_SAMESITE",
    "cookie_max_age_s": "SESSION_COOKIE_AGE and SESSION_EXPIRE_AT_BROWSER_CLOSE",
    "idle_timeout_s": "SESSION_COOKIE_AGE",
}
_IMPLIED = frozenset({"secret", "idle_timeout_s"})
"""Settings that every project implies, by SECRET_KEY and by a default age."""

_LISTENERS = "listeners"
_FOLLOW_LOGINS = "follow_logins"
_READ = frozenset({NAME, "SECRET_KEY", "SECRET_KEY_FALLBACKS", "MIDDLEWARE"})

_lock = threading.Lock()
_runtime: Runtime | None = None


def runtime() -> Runtime:
    """Return the runtime with the project's settings, made at the first call. Opens nothing.

    Raises ConfigurationError.
    """
    global _runtime
    found = _runtime
    if found is None:
        with _lock:
            if _runtime is None:
                _runtime = _make_runtime()
            found = _runtime
    return found


def manager() -> SessionManager:
    """Return this process's session manager. Raises ConfigurationError or ReplicaUnusable."""
    return runtime().manager()


def start() -> None:
    """Join the cluster now, instead of at the first request: for a server's hooks.

    Call it in the process that serves, after the server has forked. Further calls do nothing.
    Raises ReplicaUnusable or ConfigurationError when the node cannot work here at all.
    """
    runtime().start()


def sessions() -> ClusterSessions:
    """Return users' sessions across the cluster, for use outside of a request."""
    return manager().sessions()


def close() -> None:
    """Let go of what this process opened, and read the settings again at the next use."""
    global _runtime
    with _lock:
        closing, _runtime = _runtime, None
    if closing is not None:
        closing.close()


def read_settings() -> Settings:
    """Read our settings out of Django's. Raises ConfigurationError, a line for each problem."""
    options = _options()
    problems = [
        f"{name} in the settings is not read; write "
        f'{NAME} = {{"{name.removeprefix(NAME + "_").lower()}": ...}}'
        for name in sorted(dir(django_settings))
        if name.startswith(NAME + "_")
    ]
    if problems:
        raise ConfigurationError("\n".join(problems))
    follows_logins()
    for name in (_LISTENERS, _FOLLOW_LOGINS):
        options.pop(name, None)
    framework = _from_django()
    said = {name: Said(_DJANGO_SAYS.get(name, name), value) for name, value in framework.items()}
    settings = load_settings(said, **options)
    for name, django_name in _DJANGO_SAYS.items():
        value = getattr(settings, name)
        if value != framework[name]:
            problems.append(
                f"{name} is {value!r}, but Django decides that: set {django_name} instead"
            )
    if settings.cookie_partitioned:
        problems.append("cookie_partitioned is True, but Django cannot set that attribute")
    problems += _without_middleware(settings)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return settings


def _options() -> dict[str, Any]:
    """Return what ``CLUSTERSESSION`` holds, by our names. Raises ConfigurationError."""
    given = getattr(django_settings, NAME, None)
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ConfigurationError(f"{NAME} in the settings must be a dict of our settings by name")
    options: dict[str, Any] = {}
    for name, value in given.items():
        ours = name.lower() if isinstance(name, str) and name.isupper() else str(name)
        if value is not None or ours not in options:
            options[ours] = value
    return options


def read_listeners() -> Events | None:
    """Find the ``Events`` that ``"LISTENERS"`` names by its path. Raises ConfigurationError."""
    wanted = _options().get(_LISTENERS)
    if wanted is None:
        return None
    try:
        found = import_string(wanted) if isinstance(wanted, str) else wanted
    except ImportError as error:
        raise ConfigurationError(f"LISTENERS in {NAME} cannot be imported: {error}") from error
    if not isinstance(found, Events):
        raise ConfigurationError(
            f"LISTENERS in {NAME} is {wanted!r}; it must be the dotted path of an Events of "
            "clustersession.session.events"
        )
    return found


def follows_logins() -> bool:
    """Tell whether a session belongs to the user of Django's login. Raises ConfigurationError."""
    wanted = _options().get(_FOLLOW_LOGINS)
    if wanted is None:
        return True
    if not isinstance(wanted, bool):
        raise ConfigurationError(f"FOLLOW_LOGINS in {NAME} is {wanted!r}; it must be True or False")
    return wanted


def _without_middleware(settings: Settings) -> list[str]:
    """Say which settings cannot work under Django's own middleware, which hides what they need."""
    wanted = beyond_the_cookie(settings)
    if not wanted or _has_our_middleware():
        return []
    return [
        f'{text}, for which "clustersession.django.ClusterSessionMiddleware" has to take the place '
        "of Django's SessionMiddleware in MIDDLEWARE"
        for text in wanted
    ]


def _has_our_middleware() -> bool:
    for path in django_settings.MIDDLEWARE or ():
        try:
            found = import_string(path)
        except ImportError:
            continue  # Django says so itself
        if getattr(found, "opens_cluster_sessions", False):
            return True
    return False


def _from_django() -> dict[str, object]:
    """Return what Django's own settings say, by our names."""
    django = django_settings
    framework: dict[str, object] = {
        "cookie_name": django.SESSION_COOKIE_NAME,
        "cookie_path": django.SESSION_COOKIE_PATH or "/",
        "cookie_domain": django.SESSION_COOKIE_DOMAIN or "",
        "cookie_secure": bool(django.SESSION_COOKIE_SECURE),
        "cookie_httponly": bool(django.SESSION_COOKIE_HTTPONLY),
        "cookie_samesite": (django.SESSION_COOKIE_SAMESITE or "").lower(),
        "cookie_max_age_s": 0,
        "idle_timeout_s": float(django.SESSION_COOKIE_AGE),
    }
    keys = [django.SECRET_KEY, *django.SECRET_KEY_FALLBACKS]
    framework["secret"] = [derive_secret(key) for key in keys if key]
    return framework


def _make_runtime() -> Runtime:
    settings = read_settings()
    given = {name for name, value in _options().items() if value is not None}
    return Runtime(
        settings,
        sliding=bool(django_settings.SESSION_SAVE_EVERY_REQUEST),
        listeners=read_listeners(),
        implied=_IMPLIED - given,
    )


def _on_setting_changed(*, setting: str, **_: object) -> None:
    # Only tests change settings while running.
    if setting in _READ or setting.startswith("SESSION_"):
        close()


setting_changed.connect(_on_setting_changed, dispatch_uid="clustersession")
