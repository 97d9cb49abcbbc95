"""Flask, FastAPI and Django as three servers of each of two nodes, with one session between them.

It is ``examples/one_login``.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from clustersession.tools.demo.nodes import ClusterPorts, Node, make_node, uvicorn_command
from clustersession.tools.demo.processes import Program, free_port, wait_for
from tests.examples.browser import Browser
from tests.support.apps import ROOT
from tests.system.conftest import StartNodes

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

DIRECTORY = ROOT / "examples" / "one_login"
OTHER_SETTINGS = "other settings than this one"


def gunicorn(app: str) -> list[str]:
    return [
        sys.executable, "-m", "gunicorn", "-w", "1", "-b", "127.0.0.1:{port}",
        "--graceful-timeout", "2", app,
    ]


COMMANDS = {
    "flask": gunicorn("flask_app:app"),
    "fastapi": uvicorn_command("fastapi_app:app"),
    "django": gunicorn("django_app:app"),
}


class Site:
    """One host: a server for each framework over one state directory.

    ``servers`` are nodes as far as a browser needs them; the first is the one that was started as
    a node, and its ``kill`` ends all.
    """

    def __init__(self, node: Node, environment: dict[str, str]) -> None:
        self.node = node
        self.servers = {"flask": node}
        for framework in ("fastapi", "django"):
            port = free_port()
            program = Program(
                [part.replace("{port}", str(port)) for part in COMMANDS[framework]],
                node.directory / f"{framework}.log",
                {**node.program.environment, **environment}, DIRECTORY,
            )
            self.servers[framework] = replace(node, port=port, direct_port=port, program=program)

    def start_others(self) -> None:
        for framework in ("fastapi", "django"):
            self.servers[framework].start()

    def stop_others(self) -> None:
        for framework in ("fastapi", "django"):
            self.servers[framework].program.stop()

    def start(self) -> None:
        self.node.start()
        self.start_others()

    def kill(self) -> None:
        self.node.kill()
        self.stop_others()

    def text_of_logs(self) -> str:
        return "".join(path.read_text() for path in sorted(self.node.directory.glob("*.log")))


class Visitor:
    """A browser, and what the three say of it."""

    def __init__(self) -> None:
        self.browser = Browser()

    def get(self, site: Site, framework: str) -> str:
        return self.browser.get(site.servers[framework], f"/{framework}/")

    def post(self, site: Site, framework: str, action: str, **fields: str) -> str:
        self.get(site, framework)
        return self.browser.post(site.servers[framework], f"/{framework}/{action}", **fields)

    def users(self, site: Site) -> list[str]:
        """Who each of the three takes the visitor for."""
        pages = (self.get(site, framework) for framework in COMMANDS)
        return [page.partition("knows user ")[2].partition("<")[0].strip(" .") for page in pages]


@pytest.fixture
def start_sites(tmp_path: Path, start_nodes: StartNodes) -> Iterator[Callable[..., list[Site]]]:
    """``start_sites("tomcat1", "tomcat2")``: hosts that have found each other."""
    environment = {
        "DATABASE": str(tmp_path / "site.sqlite3"),
        "CLUSTERSESSION_CONFIG": str(DIRECTORY / "clustersession.toml"),
    }
    manage(environment, "migrate", "--verbosity", "0")
    for name in ("ann", "bob"):
        manage(
            {**environment, "DJANGO_SUPERUSER_PASSWORD": "secret"}, "createsuperuser", "--noinput",
            "--username", name, "--email", f"{name}@example.com",
        )

    def make(route: str, directory: Path, ports: ClusterPorts) -> Node:
        return make_node(
            route, directory, ports, COMMANDS["flask"], app_directory=DIRECTORY,
            environment=environment,
        )

    with ExitStack() as cleanup:
        def start(*routes: str) -> list[Site]:
            found = [Site(node, environment) for node in start_nodes(make, *routes)]
            for site in found:
                cleanup.callback(site.stop_others)
                site.start_others()
            return found

        yield start


def manage(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "django_app.py", *arguments], cwd=DIRECTORY, check=True,
        capture_output=True, env={**os.environ, **environment}, timeout=60,
    )


ANN, BOB = ["1", "1", "1, ann"], ["2", "2", "2, bob"]
NOBODY = ["None", "None", "None, nobody"]


def test_one_login_for_three_frameworks_on_two_nodes(
    start_sites: Callable[..., list[Site]],
) -> None:
    first, second = start_sites("tomcat1", "tomcat2")
    visitor = Visitor()
    assert visitor.users(first) == NOBODY
    before = visitor.browser.cookie()

    # A login of Flask is one for all, on both nodes, and moves all to its new id.
    assert "Welcome!" in visitor.post(first, "flask", "login", user="1")
    assert visitor.browser.cookie() != before
    assert visitor.users(first) == ANN
    assert visitor.users(second) == ANN

    # One of Django goes on with the session, under another id once more, and nothing is lost.
    login = visitor.browser.cookie()
    visitor.post(second, "django", "login", user="ann", password="secret")
    assert visitor.browser.cookie() != login
    page = visitor.get(first, "fastapi")
    for name in (
        "_auth_user_backend", "_auth_user_hash", "_auth_user_id", "django_visits",
        "fastapi_visits", "flask_login", "flask_visits",
    ):
        assert name in page
    assert visitor.users(first) == ANN
    assert "(&#39;Flask&#39;, 1)" in visitor.get(second, "flask"), "it is still a tuple"

    # Another user's login takes over nothing, whoever makes it.
    visitor.post(first, "flask", "login", user="2")
    assert visitor.users(second) == BOB
    assert "_auth_user_id" not in visitor.get(second, "django")
    visitor.post(first, "django", "login", user="ann", password="secret")
    assert visitor.users(second) == ANN
    visitor.post(second, "fastapi", "login", user="2")
    assert visitor.users(first) == BOB

    # A logout in one is one in all: Django's flush, and clear() of Flask and Starlette.
    for framework in COMMANDS:
        visitor.post(first, "fastapi", "login", user="1")
        assert visitor.users(second) == ANN
        stolen = visitor.browser.cookie()
        visitor.post(second, framework, "logout")
        assert visitor.users(second) == NOBODY
        wait_for(lambda: visitor.users(first) == NOBODY, f"the logout in {framework}")
        assert visitor.browser.cookie().partition(".")[0] != stolen.partition(".")[0]

    assert OTHER_SETTINGS not in first.text_of_logs() + second.text_of_logs()


def test_the_death_of_a_node_logs_out_of_none_of_the_three(
    start_sites: Callable[..., list[Site]],
) -> None:
    first, second = start_sites("tomcat1", "tomcat2")
    visitor = Visitor()
    visitor.post(first, "django", "login", user="ann", password="secret")
    visitor.get(first, "flask")
    visitor.get(first, "fastapi")
    first.kill()
    assert visitor.users(second) == ANN
    page = visitor.get(second, "flask")
    for name in ("_auth_user_id", "django_visits", "fastapi_visits", "flask_visits"):
        assert name in page
    visitor.post(second, "fastapi", "logout")
    first.start()
    wait_for(lambda: visitor.users(first) == NOBODY, "the logout on the node that came back")


def test_servers_that_do_not_agree_say_so(start_sites: Callable[..., list[Site]]) -> None:
    (first,) = start_sites("tomcat1")
    Visitor().users(first)
    assert OTHER_SETTINGS not in first.text_of_logs()
    fastapi = first.servers["fastapi"].program

    def lines_with(text: str, **environment: str) -> list[str]:
        """What is logged once FastAPI's server has started again, with other settings."""
        fastapi.stop()
        fastapi.environment = {**fastapi.environment, **environment}
        first.servers["fastapi"].start()
        return wait_for(
            lambda: [line for line in first.text_of_logs().splitlines() if text in line], text
        )

    (line,) = lines_with(
        OTHER_SETTINGS, CLUSTERSESSION_IDLE_TIMEOUT_S="600", CLUSTERSESSION_COOKIE_SECURE="true"
    )
    assert "idle_timeout_s is 600.0 here and 1800.0 there" in line
    assert "cookie_secure is True here and False there" in line
    (line,) = lines_with("a new node begins in", CLUSTERSESSION_SECRET="x" * 8 + "Lz3Rk5_vN0xYb7d")
    assert "none of its secrets is known to" in line
