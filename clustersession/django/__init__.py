"""Keeps ``request.session`` in the cluster, as a session engine of Django.

    SESSION_ENGINE = "clustersession.django"
    CLUSTERSESSION = {"distributable": True}

That is all that has to change. Two more lines are worth having: ``"clustersession.django"`` in
``INSTALLED_APPS`` lets ``manage.py check`` report what is wrong with the settings, and
``"clustersession.django.ClusterSessionMiddleware"`` in place of Django's own ``SessionMiddleware``
does what an engine alone cannot; see ``middleware``.

Importing this module, and with it any command of ``manage.py``, opens nothing.
"""

from typing import TYPE_CHECKING, Any

from clustersession.django.configuration import runtime, sessions, start
from clustersession.django.middleware import ClusterSessionMiddleware

if TYPE_CHECKING:
    from clustersession.django.store import SessionStore


def __getattr__(name: str) -> Any:
    """Find ``SessionStore``, once the settings are right. Raises ConfigurationError.

    Django's own SessionMiddleware asks for it when a server loads the project, which then does not
    start; commands import this module without asking.
    """
    if name != "SessionStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from clustersession.django.store import SessionStore

    runtime()
    return SessionStore


__all__ = ["ClusterSessionMiddleware", "SessionStore", "sessions", "start"]
