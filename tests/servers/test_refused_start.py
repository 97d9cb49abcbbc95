"""A node that cannot work keeps its server from starting, with a line that says what to change."""

import http.client
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.registry import PYTHON, UWSGI
from tests.servers.running import HOOKS
from tests.support.processes import accepts_connections, free_port, require, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]

APPS = {
    "starlette": """
from starlette.applications import Starlette
from clustersession.asgi import ClusterSessionMiddleware

app = Starlette()
app.add_middleware(ClusterSessionMiddleware)
""",
    "fastapi": """
from fastapi import FastAPI
from clustersession.fastapi import ClusterSessionMiddleware

app = FastAPI()
app.add_middleware(ClusterSessionMiddleware)
""",
    "litestar": """
from litestar import Litestar
from clustersession.litestar import ClusterSessionPlugin

app = Litestar(plugins=[ClusterSessionPlugin()])
""",
    "quart": """
from quart import Quart
from clustersession.quart import ClusterSession

app = Quart("app")
ClusterSession(app)
""",
    "sanic": """
from sanic import Sanic, text
from clustersession.sanic import ClusterSession

app = Sanic("app")
ClusterSession(app)

@app.get("/")
async def page(request):
    return text("")
""",
    "asgi": """
from clustersession.asgi import ClusterSessionMiddleware

async def inner(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})

app = ClusterSessionMiddleware(inner)
""",
    "aiohttp": """
from aiohttp import web
from clustersession.aiohttp import ClusterSession

app = web.Application()
ClusterSession(app)
if __name__ == "__main__":
    import sys
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]))
""",
    "tornado": """
import asyncio, sys
from tornado.web import Application
from clustersession.tornado import ClusterSession

async def main():
    app = Application()
    ClusterSession(app).start()
    app.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()

asyncio.run(main())
""",
    "flask": """
from flask import Flask
from clustersession.flask import ClusterSession

app = Flask("app")
ClusterSession(app)
""",
    "hooked": """
from flask import Flask
from clustersession.flask import ClusterSession

app = Flask("app")
ClusterSession(app)
app.start = lambda: app.extensions["clustersession"].start(app)
""",
    "wsgi": """
from clustersession.wsgi import ClusterSessionMiddleware

def inner(environ, start_response):
    start_response("200 OK", [])
    return [b""]

app = ClusterSessionMiddleware(inner)
""",
    "django": """
import sys
from django.conf import settings
from django.core.wsgi import get_wsgi_application

urlpatterns = []
settings.configure(
    SECRET_KEY="of this test alone", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"],
    SESSION_ENGINE="clustersession.django",
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
)
app = get_wsgi_application()
""",
}
HOOK = {
    "gunicorn.conf.py": """
def post_worker_init(worker):
    worker.wsgi.start()
""",
    "started_app.py": """
from app import app
app.start()
""",
    "uwsgi_app.py": (HOOKS / "uwsgi_app.py").read_text(),
    "waitress_app.py": """
import sys
import waitress
from app import app
app.start()
waitress.serve(app, listen=sys.argv[1])
""",
}
ASGI = {
    "uvicorn": (PYTHON, "-m", "uvicorn", "app:app", "--port", "{port}"),
    "hypercorn": (PYTHON, "-m", "hypercorn", "app:app", "-b", "127.0.0.1:{port}"),
    "hypercorn-trio": (
        PYTHON, "-m", "hypercorn", "-k", "trio", "app:app", "-b", "127.0.0.1:{port}",
    ),
    "granian": (PYTHON, "-m", "granian", "--interface", "asgi", "--port", "{port}", "app:app"),
    "gunicorn": (
        PYTHON, "-m", "gunicorn", "-k", "uvicorn.workers.UvicornWorker", "-c", "/dev/null",
        "-b", "127.0.0.1:{port}", "app:app",
    ),
}
WSGI = {
    "gunicorn": (PYTHON, "-m", "gunicorn", "-b", "127.0.0.1:{port}", "app:app"),
    "granian": (
        PYTHON, "-m", "granian", "--interface", "wsgi", "--port", "{port}", "started_app:app",
    ),
    "waitress": (PYTHON, "waitress_app.py", "127.0.0.1:{port}"),
    "uwsgi": (
        UWSGI, "--binary-path", PYTHON, "--master", "--http-socket", "127.0.0.1:{port}",
        "--need-app", "--module", "uwsgi_app:app",
    ),
}


@dataclass(frozen=True)
class Fault:
    """``variables`` make it; ``said`` is what the line about it has; ``early``: before opening."""

    name: str
    variables: dict[str, str]
    said: str
    early: bool = True


FAULTS = {
    "unknown": Fault("unknown", {"COOKY_NAME": "x"}, "did you mean CLUSTERSESSION_COOKIE_NAME"),
    "file": Fault("file", {"CONFIG": "settings.toml"}, "ack is 'two' ("),
    "secret": Fault(
        "secret", {"DISTRIBUTABLE": "1", "BIND": "0.0.0.0"}, "CLUSTERSESSION_SECRET", early=False
    ),
    "state": Fault("state", {"STATE_DIR": "settings.toml/state"}, "set state_dir", early=False),
    "certificate": Fault(
        "certificate",
        {"DISTRIBUTABLE": "1", "BIND": "127.0.0.1", "TLS_CERTIFICATE": "/none", "TLS_KEY": "/none",
         "TLS_CA": "/none"},
        "tls_certificate is '/none'; it cannot be read", early=False,
    ),
}


def start(
    directory: Path, app: str, command: tuple[str, ...], fault: Fault
) -> "tuple[subprocess.Popen[str], int]":
    """A server in a directory of its own, with the fault in its environment."""
    (directory / "app.py").write_text(APPS[app])
    (directory / "settings.toml").write_text('ack = "two"\n')
    for name, text in HOOK.items():
        (directory / name).write_text(text)
    kept = {name: v for name, v in os.environ.items() if not name.startswith("CLUSTERSESSION_")}
    variables = {f"CLUSTERSESSION_{name}": value for name, value in fault.variables.items()}
    port = free_port()
    return subprocess.Popen(
        [word.replace("{port}", str(port)) for word in command], cwd=directory, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,  # Sanic's manager kills its process group when a worker fails
        env={**kept, "XDG_STATE_HOME": str(directory / "home"), **variables},
    ), port


def said_at_its_end(process: "subprocess.Popen[str]") -> str:
    """What a server has said that stops by itself."""
    try:
        output, _ = process.communicate(timeout=45)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, _ = process.communicate(timeout=20)
        raise AssertionError(f"it went on:\n{output}") from None
    return output


@pytest.mark.parametrize("server", ASGI)
def test_what_add_middleware_makes_late_stops_every_server(server: str, tmp_path: Path) -> None:
    process, _ = start(tmp_path, "starlette", ASGI[server], FAULTS["unknown"])
    assert FAULTS["unknown"].said in said_at_its_end(process)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
def test_uvicorn_says_it_in_one_line(fault: Fault, tmp_path: Path) -> None:
    process, _ = start(tmp_path, "starlette", ASGI["uvicorn"], fault)
    said = said_at_its_end(process)
    (line,) = [line for line in said.splitlines() if fault.said in line]
    assert "ERROR" in line
    assert "Traceback" not in said
    assert process.returncode == 3


@pytest.mark.parametrize("app", ["fastapi", "litestar", "quart", "sanic", "asgi"])
@pytest.mark.parametrize("fault", ["unknown", "secret"])
def test_every_asgi_adapter_stops_its_server(app: str, fault: str, tmp_path: Path) -> None:
    process, _ = start(tmp_path, app, ASGI["uvicorn"], FAULTS[fault])
    assert FAULTS[fault].said in said_at_its_end(process)
    assert process.returncode != 0


@pytest.mark.parametrize("fault", ["unknown", "secret", "state"])
def test_sanic_s_own_server_stops(fault: str, tmp_path: Path) -> None:
    command = (PYTHON, "-m", "sanic", "app:app", "--port", "{port}", "--no-motd")
    process, _ = start(tmp_path, "sanic", command, FAULTS[fault])
    assert FAULTS[fault].said in said_at_its_end(process)
    assert process.returncode != 0


@pytest.mark.parametrize("app", ["aiohttp", "tornado"])
@pytest.mark.parametrize("fault", ["unknown", "secret", "state"])
def test_frameworks_with_a_server_of_their_own_do_not_start_it(
    app: str, fault: str, tmp_path: Path
) -> None:
    process, _ = start(tmp_path, app, (PYTHON, "app.py", "{port}"), FAULTS[fault])
    assert FAULTS[fault].said in said_at_its_end(process)
    assert process.returncode != 0


def test_aiohttp_under_gunicorn_does_not_start_it_either(tmp_path: Path) -> None:
    command = (*WSGI["gunicorn"], "-k", "aiohttp.GunicornWebWorker", "-c", "/dev/null")
    process, _ = start(tmp_path, "aiohttp", command, FAULTS["unknown"])
    assert FAULTS["unknown"].said in said_at_its_end(process)
    assert process.returncode == 3


@pytest.mark.parametrize("app", ["flask", "wsgi", "django"])
@pytest.mark.parametrize("fault", ["unknown", "file"])
def test_every_wsgi_adapter_stops_a_server_without_a_hook(
    app: str, fault: str, tmp_path: Path
) -> None:
    command = (*WSGI["gunicorn"], "-c", "/dev/null")
    process, _ = start(tmp_path, app, command, FAULTS[fault])
    assert FAULTS[fault].said in said_at_its_end(process)
    assert process.returncode == 3


@pytest.mark.parametrize(("server", "app"), [
    ("gunicorn", "hooked"), ("granian", "hooked"), ("waitress", "wsgi"), ("uwsgi", "flask"),
])
def test_with_its_hook_a_wsgi_server_stops_for_what_opening_finds(
    server: str, app: str, tmp_path: Path
) -> None:
    if server == "uwsgi":
        require("" if Path(UWSGI).exists() else "uwsgi")
    process, _ = start(tmp_path, app, WSGI[server], FAULTS["state"])
    assert FAULTS["state"].said in said_at_its_end(process)


def test_without_a_lifespan_every_request_is_refused_and_the_log_says_so_once(
    tmp_path: Path,
) -> None:
    command = (*ASGI["uvicorn"], "--lifespan", "off")
    process, port = start(tmp_path, "starlette", command, FAULTS["unknown"])
    try:
        wait_for(lambda: accepts_connections(port), "uvicorn")
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert (answer.status, b"COOKY" in answer.read()) == (500, False)
            connection.close()
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=20)
    assert said.count(FAULTS["unknown"].said) == 1
