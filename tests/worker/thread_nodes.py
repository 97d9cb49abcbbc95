"""Nodes in one process, each with its agent on a thread, over real sockets of the loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from clustersession.session.manager import SessionManager
from clustersession.session.session import Session
from clustersession.tools.demo.processes import wait_for
from clustersession.worker.runtime import Runtime
from tests.support.processes import free_port


@contextmanager
def running_nodes(directory: Path, count: int, **settings: Any) -> Iterator[list[Runtime]]:
    """A cluster that is ready: every node has every other as a member."""
    ports = [free_port() for _ in range(count)]
    runtimes = [
        Runtime.from_options({
            "distributable": True, "agent": "thread", "bind": "127.0.0.1", "secret": "s" * 32,
            "multicast_address": "", "seeds": [f"127.0.0.1:{p}" for p in ports if p != port],
            "port": port, "port_range": 1, "route": f"node{number}",
            "state_dir": str(directory), "ack": "all", **settings,
        })
        for number, port in enumerate(ports, 1)
    ]
    routes = {runtime.settings.route for runtime in runtimes}
    try:
        for runtime in runtimes:
            runtime.start()
        for runtime in runtimes:
            wait_for(
                lambda r=runtime: r.manager().cluster.serving_routes() >= routes,
                f"{runtime.settings.route} to know the others",
            )
        yield runtimes
    finally:
        for runtime in runtimes:
            runtime.close()


def login(manager: SessionManager, user: str) -> str:
    """A new session of a user; its cookie."""
    visit = manager.open([])
    session = cast(Session, visit.session)
    session.principal = user
    session["n"] = 1
    header = manager.commit(visit).set_cookie
    assert header is not None
    return header.partition(";")[0].partition("=")[2]


def opened(manager: SessionManager, cookie: str) -> Session:
    """The session of a request with a cookie."""
    visit = manager.open([cookie])
    if visit.missing:
        manager.fetch(visit)
    return cast(Session, visit.session)


def is_alive(manager: SessionManager, cookie: str) -> bool:
    """Whether a request with the cookie finds its session."""
    return not opened(manager, cookie).new
