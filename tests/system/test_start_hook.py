"""Nodes that nobody has asked are members, and hold copies: by a hook, or by the lifespan."""

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from clustersession.operations.nodes import ask_agent
from clustersession.replica.home import NodeHome
from clustersession.tools.demo.nodes import ClusterPorts, Node, make_node, uvicorn_command
from clustersession.tools.demo.processes import wait_for
from clustersession.wire.local import Operation
from tests.support.apps import ROOT, flask_under_gunicorn
from tests.support.starting import start_together
from tests.system.client import data, new_session, settled

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

DJANGO = ROOT / "examples" / "django_app"
SERVERS = {
    "uvicorn": uvicorn_command("asgi:application"),
    "hypercorn": [
        sys.executable, "-m", "hypercorn", "-b", "127.0.0.1:{port}", "asgi:application",
    ],
    "daphne": [
        sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", "{port}",
        "daphne_app:application",
    ],
    "gunicorn": [
        sys.executable, "-m", "gunicorn", "-w", "2", "-k", "uvicorn.workers.UvicornWorker",
        "-c", "/dev/null", "-b", "127.0.0.1:{port}", "asgi:application",
    ],
    "gunicorn-asgi": [
        sys.executable, "-m", "gunicorn", "-w", "2", "-k", "asgi", "-c", "/dev/null",
        "-b", "127.0.0.1:{port}", "asgi:application",
    ],
}
OUTER = """
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.routing import Mount

@asynccontextmanager
async def lifespan(app):
    start()
    yield

app = Starlette(routes=[Mount("/shop", app=shop)], lifespan=lifespan)
"""
MOUNTED = {
    "asgi": """
from starlette.applications import Starlette
from clustersession.asgi import ClusterSessionMiddleware

shop = ClusterSessionMiddleware(Starlette())
start = shop.start
""",
    "litestar": """
from litestar import Litestar
from clustersession.litestar import ClusterSessionPlugin

plugin = ClusterSessionPlugin()
shop, start = Litestar(plugins=[plugin]), plugin.start
""",
    "quart": """
from quart import Quart
from clustersession.quart import ClusterSession

shop = Quart("shop")
extension = ClusterSession(shop)

def start():
    extension.start(shop)
""",
    "django": f"""
import sys

sys.path.insert(0, {str(DJANGO)!r})
import asgi
from clustersession.django import start

shop = asgi.application
""",
}


def become_members(nodes: list[Node], cleanup: ExitStack) -> None:
    """Start the nodes, and wait until they have found each other."""
    start_together(nodes, cleanup)
    for node in nodes:
        wait_for(lambda n=node: any(n.state_dir.rglob("agent.sock")), f"{node.route}'s agent")
    for node in nodes:
        wait_for(lambda n=node: settled(n, 1), f"{node.route} to have found the other")


def test_a_node_joins_without_any_request_and_keeps_the_sessions_of_its_peer(
    tmp_path: Path,
) -> None:
    ports = ClusterPorts()
    nodes = [flask_under_gunicorn(route, tmp_path, ports) for route in ("tomcat1", "tomcat2")]
    with ExitStack() as cleanup:
        become_members(nodes, cleanup)
        cookie = new_session(nodes[0], user="ann")
        nodes[0].kill()
        assert data(nodes[1], cookie) == {"user": "ann"}


@pytest.mark.parametrize("server", SERVERS)
def test_django_under_asgi_joins_without_any_request(server: str, tmp_path: Path) -> None:
    ports = ClusterPorts()
    nodes = [
        make_node(route, tmp_path, ports, SERVERS[server], app_directory=DJANGO)
        for route in ("tomcat1", "tomcat2")
    ]
    with ExitStack() as cleanup:
        become_members(nodes, cleanup)
        cookie = new_session(nodes[0], user="ann")
        assert data(nodes[1], cookie) == {"user": "ann"}


def test_sanic_s_workers_join_without_any_request_and_their_manager_opens_nothing(
    tmp_path: Path,
) -> None:
    ports = ClusterPorts()
    command = [
        sys.executable, "-m", "sanic", "app:app", "--host", "127.0.0.1", "--port", "{port}",
        "--workers", "2", "--no-motd",
    ]
    nodes = [
        make_node(route, tmp_path, ports, command, app_directory=ROOT / "examples" / "sanic_app")
        for route in ("tomcat1", "tomcat2")
    ]
    with ExitStack() as cleanup:
        become_members(nodes, cleanup)
        for node in nodes:
            assert "data.mdb" not in Path(f"/proc/{node.program.pid}/maps").read_text()
            (home,) = (NodeHome(path.parent) for path in node.state_dir.rglob("agent.sock"))
            wait_for(
                lambda h=home: len(ask_agent(h, Operation.STATUS)["workers"]) == 2, "both workers"
            )
            assert node.program.pid not in ask_agent(home, Operation.STATUS)["workers"]


@pytest.mark.parametrize("framework", MOUNTED)
def test_a_mounted_application_joins_by_the_outer_one_s_lifespan(
    framework: str, tmp_path: Path
) -> None:
    (tmp_path / "outer.py").write_text(MOUNTED[framework] + OUTER)
    ports = ClusterPorts()
    nodes = [
        make_node(route, tmp_path, ports, uvicorn_command("outer:app"), app_directory=tmp_path)
        for route in ("tomcat1", "tomcat2")
    ]
    with ExitStack() as cleanup:
        become_members(nodes, cleanup)
