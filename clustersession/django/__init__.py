"""Keeps ``request.session`` in the cluster, as a session engine of Django.

    SESSION_ENGINE = "clustersession.django"
    CLUSTERSESSION = {"distributable": True}

That is all that has to change. Two more lines are worth having: ``"clustersession.django"`` in
``INSTALLED_APPS`` lets ``manage.py check`` report what is wrong with the settings, and
``"clustersession.django.ClusterSessionMiddleware"`` in place of Django's own ``SessionMiddleware``
does what an engine alone cannot; see ``middleware``.

Importing this module, and with it any command of ``manage.py``, opens nothing.
"""

from clustersession.django.configuration import sessions, start
from clustersession.django.middleware import ClusterSessionMiddleware
from clustersession.django.store import SessionStore

__all__ = ["ClusterSessionMiddleware", "SessionStore", "sessions", "start"]
