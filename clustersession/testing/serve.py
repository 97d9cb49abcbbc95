"""Serves an application on one node of a test's cluster: ``running_nodes`` runs it.

What makes a node of the cluster out of the application stands above the application's own settings,
which are those of the developer's server or of production. aiohttp, Tornado and Sanic serve their
applications themselves. Other ASGI applications need uvicorn; WSGI applications are served by what
Python has.
"""

import asyncio
import dataclasses
import importlib
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from clustersession.settings.settings import Settings
from clustersession.settings.sources import load_settings
from clustersession.testing.apps import packages_of, runtime_of

OF_THE_NODE = (
    "distributable", "route", "cluster_name", "state_dir", "bind", "port", "port_range",
    "multicast_address", "seeds",
)
"""Settings that the environment of the node decides, whatever the application says."""
LEFT_OUT = ("advertise", "metrics_port", "agent", "drain_on_stop_s")
"""Settings of production that are at their defaults on a test's node."""
_LOOK_INTERVAL_S = 0.5


def load_app(path: str) -> Any:
    """Import an application by "module:name", or call "module:factory()". Raises SystemExit."""
    module_name, _, name = path.partition(":")
    sys.path.insert(0, os.getcwd())
    found: Any = importlib.import_module(module_name)
    for part in name.removesuffix("()").split("."):
        found = getattr(found, part, None)
    if found is None:
        raise SystemExit(f'{path!r} is no application: write "module:name" or "module:factory()"')
    return found() if name.endswith("()") else found


def make_node_of(app: Any) -> None:
    """Have the sessions of an application in the cluster of the test. Raises LookupError."""
    runtime, ours, default = runtime_of(app), load_settings(), Settings()
    runtime.settings = dataclasses.replace(
        runtime.settings,
        **{name: getattr(ours, name) for name in OF_THE_NODE},
        **{name: getattr(default, name) for name in LEFT_OUT},
    )


def is_asgi(app: Any) -> bool:
    """Tell whether an application is called as ASGI says, and not as WSGI does."""
    call = app if inspect.isfunction(app) else type(app).__call__
    return inspect.iscoroutinefunction(call)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Log nothing: the log of a failed test is to show what went wrong."""


def _serve_wsgi(app: Any, port: int) -> None:
    runtime_of(app).start()
    make_server("127.0.0.1", port, app, _Server, _Quiet).serve_forever()


def _serve_asgi(app: Any, port: int) -> None:
    try:
        import uvicorn
    except ImportError:
        raise SystemExit("an ASGI application on a node needs: pip install uvicorn") from None
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False)


def _serve_aiohttp(app: Any, port: int) -> None:
    from aiohttp import web

    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


def _serve_tornado(app: Any, port: int) -> None:
    async def serve() -> None:
        runtime_of(app).start()
        app.listen(port, "127.0.0.1")
        await asyncio.Event().wait()

    asyncio.run(serve())


def _serve_sanic(app: Any, port: int) -> None:
    app.run("127.0.0.1", port, single_process=True, access_log=False, motd=False)


_OWN_SERVERS: dict[str, Callable[[Any, int], None]] = {
    "aiohttp": _serve_aiohttp,
    "tornado": _serve_tornado,
    "sanic": _serve_sanic,
}
"""Frameworks, by package, whose applications other servers cannot serve, or need not."""


def server_of(app: Any) -> Callable[[Any, int], None]:
    """Return what serves an application on a port, until it is killed."""
    own = (serve for package, serve in _OWN_SERVERS.items() if package in packages_of(app))
    return next(own, _serve_asgi if is_asgi(app) else _serve_wsgi)


def _end_with(parent: int) -> None:
    """End when the run of tests does, whatever ended it: nobody else would end this node then."""
    while os.getppid() == parent:
        time.sleep(_LOOK_INTERVAL_S)
    os._exit(1)


def main(path: str, port: str, parent: str) -> None:
    """Serve until killed."""
    threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    app = load_app(path)
    make_node_of(app)
    server_of(app)(app, int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
