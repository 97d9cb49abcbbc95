"""The status page: the cluster drawn, sessions found and explained, sessions ended, nodes drained.

Needs Starlette: ``pip install 'clustersession[dashboard]'``.
"""

from clustersession.tools.dashboard.app import Dashboard

__all__ = ["Dashboard"]
