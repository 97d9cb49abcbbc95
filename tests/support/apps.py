"""The example apps under real servers, one node each, configured by the environment alone."""

import sys
from pathlib import Path

from clustersession.tools.demo.nodes import ClusterPorts, Node, make_node, uvicorn_command

ROOT = Path(__file__).parents[2]
FASTAPI_DIRECTORY = ROOT / "examples" / "fastapi_app"
FLASK_DIRECTORY = ROOT / "examples" / "flask_app"
SUPPORT_DIRECTORY = Path(__file__).parent
READY_PATH = "/-/ready"  # as in the examples of balancers
READY = {"CLUSTERSESSION_READY_PATH": READY_PATH}
AJP_SERVER = Path(__file__).with_name("ajp_server.py")


def fastapi_under_uvicorn(route: str, directory: Path, ports: ClusterPorts) -> Node:
    """The FastAPI example under uvicorn, one worker."""
    return make_node(
        route, directory, ports, uvicorn_command("app:app"), app_directory=FASTAPI_DIRECTORY,
        environment=READY,
    )


def gated_under_uvicorn(route: str, directory: Path, ports: ClusterPorts) -> Node:
    """The FastAPI example with requests that wait, see ``gated_app``."""
    return make_node(
        route, directory, ports, uvicorn_command("gated_app:app"), app_directory=SUPPORT_DIRECTORY
    )


def fastapi_under_gunicorn(route: str, directory: Path, ports: ClusterPorts) -> Node:
    """The FastAPI example under gunicorn with two uvicorn workers."""
    command = gunicorn_command("-w", "2", "-k", "uvicorn.workers.UvicornWorker")
    return make_node(
        route, directory, ports, command, app_directory=FASTAPI_DIRECTORY, environment=READY
    )


def flask_under_gunicorn(route: str, directory: Path, ports: ClusterPorts) -> Node:
    """The Flask example under gunicorn with two sync workers."""
    return make_node(
        route, directory, ports, gunicorn_command("-w", "2"), app_directory=FLASK_DIRECTORY,
        environment=READY,
    )


def flask_over_ajp(route: str, directory: Path, ports: ClusterPorts) -> Node:
    """The Flask example over AJP13, and over HTTP on its direct port."""
    command = [sys.executable, str(AJP_SERVER), "{port}", "{direct_port}"]
    return make_node(
        route, directory, ports, command, app_directory=FLASK_DIRECTORY, environment=READY
    )


def gunicorn_command(*arguments: str) -> list[str]:
    """gunicorn on the node's port."""
    return [
        sys.executable, "-m", "gunicorn", *arguments, "-b", "127.0.0.1:{port}",
        "--graceful-timeout", "2", "app:app",
    ]
