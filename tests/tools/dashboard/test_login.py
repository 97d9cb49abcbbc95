"""What leads past the login, and does not."""

from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.datastructures import URL
from starlette.requests import Request

from clustersession.dashboard import Dashboard

HOSTILE_HOSTS = (
    "testserver/cluster/login?", "testserver:80/cluster/login?", "testserver/cluster/login",
    "testserver/cluster/style.css#", "testserver/login?", "testserver?", "testserver#",
)


async def raw_status(
    app: Dashboard, path: str, hosts: tuple[str, ...], root: str = "/cluster"
) -> int:
    """The status of an answer to a request as no client library would send it."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [(b"host", host.encode()) for host in hosts]
    await app({
        "type": "http", "method": "GET", "path": path, "root_path": root, "query_string": b"",
        "headers": headers, "scheme": "http", "server": ("127.0.0.1", 80), "client": None,
    }, receive, send)
    return int(sent[0]["status"])


async def test_no_host_header_leads_past_the_login(options: dict[str, object]) -> None:
    app = Dashboard(**options)
    for path in ("/cluster/", "/cluster/events", "/cluster/session/x"):
        for host in HOSTILE_HOSTS:
            assert await raw_status(app, path, (host,)) == 400, (path, host)
        assert await raw_status(app, path, ()) == 400
        assert await raw_status(app, path, ("testserver", "testserver")) == 400
        assert await raw_status(app, path, ("testserver",)) == 401


async def test_the_login_is_judged_by_the_path_that_the_router_sees(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Starlette before 1.0.1 put the Host header into ``request.url``, and so into its path.
    url = URL("http://testserver/cluster/login?/cluster/")
    monkeypatch.setattr(Request, "url", property(lambda request: url))
    app = Dashboard(**options)
    for root, path in (("/cluster", "/cluster/"), ("", "/"), ("/a/b", "/a/b/events")):
        assert await raw_status(app, path, ("testserver",), root) == 401, (root, path)
    for open_path in ("login", "style.css", "icon.svg"):
        assert await raw_status(app, f"/cluster/{open_path}", ("testserver",)) == 200, open_path
