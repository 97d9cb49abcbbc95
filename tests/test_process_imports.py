"""What a process imports: a worker nothing of the tools, and only the agent the agent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASGI = """
import asyncio
from clustersession.asgi import ClusterSessionMiddleware

async def app(scope, receive, send):
    scope["session"]["a"] = 1
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

async def send(message):
    pass

middleware = ClusterSessionMiddleware(app, secret_key="of this test alone")
scope = {"type": "http", "path": "/", "method": "GET", "headers": []}
asyncio.run(middleware(scope, None, send))
"""

WSGI = """
from clustersession.wsgi import ClusterSessionMiddleware

def app(environ, start_response):
    environ["clustersession.session"]["a"] = 1
    start_response("200 OK", [])
    return [b""]

environ = {"PATH_INFO": "/", "REQUEST_METHOD": "GET"}
ClusterSessionMiddleware(app)(environ, lambda status, headers: None)
"""

FLASK = """
from flask import Flask, session
from clustersession.flask import ClusterSession

app = Flask("app")
app.config["SECRET_KEY"] = "of this test alone"
ClusterSession(app)

@app.route("/")
def page():
    session["a"] = 1
    return ""

app.test_client().get("/")
"""

PYRAMID = """
from pyramid.config import Configurator

def page(request):
    request.session["a"] = 1
    return request.response

config = Configurator()
config.include("clustersession.pyramid")
config.add_view(page)
environ = {"PATH_INFO": "/", "REQUEST_METHOD": "GET", "wsgi.url_scheme": "http",
           "SERVER_NAME": "localhost", "SERVER_PORT": "80"}
list(config.make_wsgi_app()(environ, lambda status, headers, exc_info=None: None))
"""

BEAKER = """
from clustersession.beaker import SessionMiddleware

def app(environ, start_response):
    environ["beaker.session"]["a"] = 1
    environ["beaker.session"].save()
    start_response("200 OK", [])
    return [b""]

environ = {"PATH_INFO": "/", "REQUEST_METHOD": "GET"}
SessionMiddleware(app)(environ, lambda status, headers: None)
"""

DJANGO = """
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path

def page(request):
    request.session["a"] = 1
    return HttpResponse("")

urlpatterns = [path("", page)]
settings.configure(
    SECRET_KEY="of this test alone", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"],
    SESSION_ENGINE="clustersession.django",
    MIDDLEWARE=["clustersession.django.ClusterSessionMiddleware"],
)
django.setup()
from django.test import Client
Client().get("/")
"""

AGENT = "import clustersession.agent.process"

ONCE = ("cryptography.", "uvloop.")
"""What only one interpreter of a process can import; mod_wsgi gives each application its own."""

LIST = f"""
import sys
ONCE = {ONCE}
print("imported", *(name for name in sys.modules if name.startswith(("clustersession.", *ONCE))))
"""

WRITES_TO_AN_AGENT = {"clustersession.agent", "clustersession.agent.start"}
TOP = ("tools", "operations", "cli", "dashboard", "testing", "pytest", "status_router")
NOT_IN_A_WORKER = (*TOP, "agent", "node", "cryptography", "uvloop")


def rooms_imported(program: str, directory: Path, **settings: str) -> set[str]:
    """The packages of clustersession that a process has imported after a program."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith("CLUSTERSESSION_")}
    variables = {f"CLUSTERSESSION_{name.upper()}": value for name, value in settings.items()}
    finished = subprocess.run(
        [sys.executable, "-c", program + LIST], capture_output=True, text=True, check=True,
        env={**kept, "XDG_STATE_HOME": str(directory), **variables}, timeout=50,
    )
    names = {*finished.stdout.rpartition("imported ")[2].split()}
    # How to start an agent, which a worker knows and an agent too.
    if "clustersession.agent.process" not in names:
        names -= WRITES_TO_AN_AGENT
    ours = "clustersession."
    return {
        name.split(".")[1] if name.startswith(ours) else name.split(".")[0] for name in names
    }


@pytest.mark.parametrize("program",
    [ASGI, WSGI, FLASK, PYRAMID, BEAKER, DJANGO],
    ids=["asgi", "wsgi", "flask", "pyramid", "beaker", "django"],
)
def test_a_worker_imports_neither_tools_nor_engine(program: str, tmp_path: Path) -> None:
    imported = rooms_imported(program, tmp_path)
    assert "worker" in imported
    assert not imported.intersection(NOT_IN_A_WORKER)


def test_so_does_a_worker_of_a_cluster(tmp_path: Path) -> None:
    imported = rooms_imported(
        ASGI, tmp_path, distributable="true", bind="127.0.0.1", agent="external",
        multicast_address="", ack="none",
    )
    assert "worker" in imported
    assert not imported.intersection(NOT_IN_A_WORKER)


def test_an_agent_imports_nothing_of_a_worker(tmp_path: Path) -> None:
    imported = rooms_imported(AGENT, tmp_path)
    assert "node" in imported
    assert not imported.intersection((*TOP, "worker", "session", "requests"))
