"""An application on nodes that a test kills; the page's example has Flask and a factory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clustersession.testing import running_nodes
from tests.support.processes import StepFailed, accepts_connections, node_pids

ASGI = """
from fastapi import FastAPI
from clustersession.fastapi import ClusterSessionMiddleware, SessionDependency

app = FastAPI()
app.add_middleware(ClusterSessionMiddleware, route="production", state_dir="/nonexistent",
                   distributable=False)

@app.get("/")
async def home(session: SessionDependency) -> int:
    session["visits"] = session.get("visits", 0) + 1
    return session["visits"]
"""

AIOHTTP = """
from aiohttp import web
from clustersession.aiohttp import ClusterSession, session_of

async def home(request):
    session = session_of(request)
    session["visits"] = session.get("visits", 0) + 1
    return web.json_response(session["visits"])

app = web.Application()
app.router.add_get("/", home)
ClusterSession(app)
"""
TORNADO = """
from tornado.web import Application, RequestHandler
from clustersession.tornado import ClusterSession, ClusterSessionMixin

class Home(ClusterSessionMixin, RequestHandler):
    def get(self):
        self.session["visits"] = self.session.get("visits", 0) + 1
        self.write(str(self.session["visits"]))

app = Application([("/", Home)])
ClusterSession(app)
"""
SANIC = """
from sanic import Sanic, json
from clustersession.sanic import ClusterSession

app = Sanic("shop")
ClusterSession(app)

@app.get("/")
async def home(request):
    session = request.ctx.session
    session["visits"] = session.get("visits", 0) + 1
    return json(session["visits"])
"""
PYRAMID = """
from pyramid.config import Configurator

def home(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return request.session["visits"]

with Configurator() as config:
    config.include("clustersession.pyramid")
    config.add_route("home", "/")
    config.add_view(home, route_name="home", renderer="json")
app = config.make_wsgi_app()
"""


OTHER_RUN = """
import sys
from pathlib import Path
from clustersession.worker.run_of_tests import remove_stale
remove_stale(Path(sys.argv[1]))
"""


def test_three_nodes_and_one_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "asgi_shop.py").write_text(ASGI)
    with running_nodes("asgi_shop:app", 3, app_directory=tmp_path) as nodes:
        client = nodes.client()
        assert client.get("/").json() == 1
        home = nodes.by_route(client.get("/").route)
        home.kill()
        assert home.alive_members() == -1
        nodes.wait_until_together(2)
        assert client.get("/").json() == 3
        assert client.route not in ("", home.route)
        directory = home._node.directory.parent
        os.utime(directory, (1, 1))
        subprocess.run([sys.executable, "-c", OTHER_RUN, directory.parent], check=True, timeout=50)
        assert client.get("/").json() == 4
        assert directory.exists()
        ports = [int(node.url.rpartition(":")[2]) for node in nodes]
    assert not [port for port in ports if accepts_connections(port)]
    assert not node_pids(directory)
    assert not directory.exists()


@pytest.mark.parametrize(
    "module", [AIOHTTP, TORNADO, SANIC, PYRAMID], ids=["aiohttp", "tornado", "sanic", "pyramid"]
)
def test_a_framework_with_a_way_of_its_own(module: str, tmp_path: Path) -> None:
    (tmp_path / "own_shop.py").write_text(module)
    with running_nodes("own_shop:app", app_directory=tmp_path) as nodes:
        client = nodes.client()
        assert client.get("/").json() == 1
        nodes.by_route(client.route).kill()
        assert client.get("/").json() == 2


def test_an_application_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken_shop.py").write_text("raise RuntimeError('no database')")
    with pytest.raises(StepFailed, match="no database"):
        with running_nodes("broken_shop:app", app_directory=tmp_path):
            pass


@pytest.mark.parametrize("count", [0, 10])
def test_a_number_of_nodes_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 9"):
        with running_nodes("shop:app", count):
            pass
