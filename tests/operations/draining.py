"""Nodes of one host whose users move when one drains."""

from pathlib import Path

from clustersession.worker.runtime import Runtime


def make(tmp_path: Path, route: str, port: int) -> Runtime:
    return Runtime.from_options({
        "distributable": True, "agent": "thread", "bind": "127.0.0.1", "multicast_address": "",
        "port": port, "seeds": (f"127.0.0.1:{port}",), "secret": "s" * 32,
        "state_dir": str(tmp_path), "route": route,
    })


def serving(runtime: Runtime) -> frozenset[str]:
    return runtime.manager().cluster.serving_routes()


def request(runtime: Runtime, cookie: str | None = None, **values: object) -> str | None:
    """The cookie that a request sets, if it sets one."""
    manager = runtime.manager()
    visit = manager.open([cookie] if cookie else [])
    session = visit.session
    session.update(values)
    set_cookie = manager.commit(visit).set_cookie
    return set_cookie and set_cookie.partition("=")[2].partition(";")[0]
