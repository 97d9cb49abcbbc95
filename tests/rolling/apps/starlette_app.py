"""The ASGI application under fault, by the name that the servers are given."""

from tests.faults.app import over_asgi as app

__all__ = ["app"]
