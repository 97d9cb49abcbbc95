"""Clusters the sessions of Python web apps with one line, as Tomcat's ``<Cluster>`` does for Java.

``clustersession.asgi.ClusterSessionMiddleware``, ``clustersession.wsgi.ClusterSessionMiddleware``
and
``clustersession.flask.ClusterSession`` are what applications import; ``clustersession.register``
adds types to what sessions can hold; ``Counter``, ``MergingList``, ``MergingDict`` and
``MergingSet`` are values whose concurrent changes merge; errors live in
``clustersession.core.errors``.
"""

import sys

if sys.platform == "win32":
    raise ImportError(
        "clustersession needs file locks, unix sockets and fork as Linux has them; it runs on "
        "Linux, and on macOS for development, not on Windows (WSL 2 is Linux)"
    )

from clustersession.wire.merging import Counter, MergingDict, MergingList, MergingSet
from clustersession.wire.registered import register

__all__ = ["Counter", "MergingDict", "MergingList", "MergingSet", "register"]

__version__ = "0.1.0"
