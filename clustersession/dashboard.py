"""Offers the status page: it draws the cluster, explains and ends sessions, drains nodes.

Needs Starlette: ``pip install 'clustersession[dashboard]'``.
"""

from clustersession.tools.dashboard.app import Dashboard

__all__ = ["Dashboard"]
