"""The smallest ASGI application with our middleware, for ``benchmarks.memory``."""

from benchmarks.memory_plain import plain
from clustersession.asgi import ClusterSessionMiddleware

clustered = ClusterSessionMiddleware(plain, distributable=True)
