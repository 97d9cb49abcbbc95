"""Each example on two nodes, real servers: who logs in on one goes on with the other.

An example joins with a row. It answers the JSON part of examples/flask_app: ``/api/whoami``,
``/api/session``, ``/api/login``, ``/api/append`` and ``/api/logout``.
"""

import sys
from dataclasses import dataclass

import pytest

from clustersession.tools.demo.nodes import make_node, uvicorn_command
from clustersession.tools.demo.processes import wait_for
from tests.support.apps import ROOT, gunicorn_command
from tests.system.client import data, get, post
from tests.system.conftest import StartNodes

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@dataclass(frozen=True, slots=True)
class Example:
    """``directory`` under examples/, and the server, with "{port}" for its port."""

    directory: str
    command: list[str]


SANIC = [
    sys.executable, "-m", "sanic", "app:app", "--host", "127.0.0.1", "--port", "{port}",
    "--workers", "2", "--no-motd",
]
EXAMPLES = [
    Example("flask_app", gunicorn_command("-w", "2")),
    Example("django_app", gunicorn_command("-w", "2")),
    Example("pyramid_app", gunicorn_command("-w", "2")),
    Example("bottle_app", gunicorn_command("-w", "2")),
    Example("fastapi_app", uvicorn_command("app:app")),
    Example("quart_app", uvicorn_command("app:app")),
    Example("starlette_app", uvicorn_command("app:app")),
    Example("litestar_app", uvicorn_command("app:app")),
    Example("aiohttp_app", [
        sys.executable, "-m", "aiohttp.web", "-H", "127.0.0.1", "-P", "{port}", "app:make_app",
    ]),
    Example("tornado_app", [sys.executable, "app.py", "{port}"]),
    Example("sanic_app", SANIC),
    Example("sanic_app", uvicorn_command("app:app")),
    Example("falcon_app", uvicorn_command("app:app")),
    Example("falcon_app", [
        sys.executable, "-m", "gunicorn", "-w", "2", "-c", "/dev/null", "-b", "127.0.0.1:{port}",
        "wsgi:app",
    ]),
    Example("blacksheep_app", uvicorn_command("app:app")),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.directory)
def test_a_login_on_one_node_is_one_on_the_other(
    start_nodes: StartNodes, example: Example
) -> None:
    first, second = start_nodes(
        lambda route, directory, ports: make_node(
            route, directory, ports, example.command,
            app_directory=ROOT / "examples" / example.directory,
        ),
        "tomcat1", "tomcat2",
    )  # fmt: skip
    before = post(first, "/api/append", None, {"key": "cart", "value": "tea"}).cookie
    assert before is not None
    login = post(first, "/api/login", before, {"user": "ann"})
    assert (login.status, login.data["node"]) == (200, "tomcat1")
    cookie = login.cookie
    assert cookie is not None
    assert cookie.partition(".")[0] != before.partition(".")[0]

    def known(key: str, value: object) -> bool:
        return bool(get(second, "/api/session", cookie).data["data"].get(key) == value)

    # ack="one", the default: the other node had it before the answer to the login came.
    assert known("user", "ann")
    assert known("cart", ["tea"])
    went_on = post(second, "/api/append", cookie, {"key": "cart", "value": "cake"})
    assert went_on.data["node"] == "tomcat2"
    assert data(first, cookie)["cart"] == ["tea", "cake"]
    assert data(first, before) == {}
    assert post(second, "/api/logout", cookie, {}).status == 200
    wait_for(lambda: data(first, cookie) == {}, "the logout on the other node")
