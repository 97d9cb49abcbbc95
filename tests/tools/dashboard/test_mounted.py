"""The dashboard inside an application, beside its middleware; and where it must not start."""

import re
import socket
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.datastructures import URL
from starlette.requests import Request
from starlette.routing import Mount

from clustersession.asgi import ClusterSessionMiddleware
from clustersession.cli import main
from clustersession.core.errors import ConfigurationError
from clustersession.dashboard import Dashboard
from clustersession.session.users import handle_of

TOKEN = "a-token-of-more-than-16"


@pytest.fixture
def options(tmp_path: Path) -> dict[str, object]:
    return {
        "distributable": True, "agent": "thread", "bind": "127.0.0.1", "multicast_address": "",
        "state_dir": str(tmp_path), "route": "tomcat1", "secret": "s" * 32, "cluster_name": "shop",
        "dashboard_token": TOKEN, "dashboard_hosts": ("testserver",),
    }


@pytest.fixture
async def client(options: dict[str, object]) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=[Mount("/cluster", Dashboard(**options))])
    middleware = ClusterSessionMiddleware(app, **options)
    transport = httpx.ASGITransport(middleware)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        client.manager = middleware.runtime.manager()  # type: ignore[attr-defined]
        yield client
    middleware.runtime.close()


async def sign_in(client: httpx.AsyncClient) -> None:
    form = await client.get("/cluster/")
    assert form.status_code == 401
    token = re.findall(r'name="form_token" value="(\w+)"', form.text)[0]
    answer = await client.post("/cluster/login", data={"form_token": token, "token": TOKEN})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/cluster/"
    assert "path=/cluster/;" in answer.headers["set-cookie"].lower()


async def test_it_shares_the_node_of_the_middleware(client: httpx.AsyncClient) -> None:
    manager = client.manager  # type: ignore[attr-defined]
    visit = manager.open([])
    session = visit.session
    session.principal = "<b>bob-the-user</b>"
    session["cart"] = ["tea"]
    manager.commit(visit)
    await sign_in(client)
    page = await client.get("/cluster/")
    assert "shop · tomcat1" in page.text
    assert 'href="/cluster/style.css"' in page.text
    assert (await client.get("/cluster/style.css")).headers["content-type"].startswith("text/css")
    handle = handle_of(visit.key)
    page = await client.get(f"/cluster/session/{handle}")
    assert "set, not shown" in page.text
    assert "bob-the-user" not in page.text
    token = re.findall(r'name="form_token" value="(\w+)"', page.text)[0]
    ended = await client.post(
        f"/cluster/session/{handle}/end-principal", data={"form_token": token, "sure": "yes"}
    )
    assert "1 session ended" in ended.text
    assert "Ended at" in (await client.get(f"/cluster/session/{handle}")).text
    again = {"form_token": token, "sure": "yes", "principal": "ann"}
    assert "0 sessions ended" in (await client.post("/cluster/end-principal", data=again)).text


def test_it_is_refused_without_a_token_of_its_own(options: dict[str, object]) -> None:
    del options["dashboard_token"]
    with pytest.raises(ConfigurationError, match="set dashboard_token"):
        Dashboard(**options)


async def test_other_names_than_those_given_are_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/cluster/", headers={"host": "evil.example"})
    assert answer.status_code == 400


@pytest.mark.parametrize(("arguments", "why"), [
    (["--bind", "0.0.0.0"], "set dashboard_token"),
    (["--bind", "::"], "set dashboard_token"),
    (["--bind", "somewhere"], "must be an IP address"),
    (["--bind", "127.0.0.1", "--port", "{taken}"], "choose another with --port"),
])
async def test_the_command_refuses_in_one_line(
    client: httpx.AsyncClient, options: dict[str, object], arguments: list[str], why: str
) -> None:
    manager = client.manager  # type: ignore[attr-defined]
    assert manager.replica.node
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        arguments = [port if argument == "{taken}" else argument for argument in arguments]
        result = CliRunner().invoke(
            main, ["--state-dir", str(options["state_dir"]), "dashboard", *arguments]
        )
    assert result.exit_code == 1
    assert why in result.output
    assert len(result.output.splitlines()) == 1


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
