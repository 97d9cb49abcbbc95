"""Django's admin on two nodes with one database: a login on one node is a login on the other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clustersession.tools.demo.nodes import ClusterPorts, Node, make_node
from clustersession.tools.demo.processes import wait_for
from tests.examples.browser import Browser
from tests.support.apps import ROOT, gunicorn_command
from tests.system.conftest import StartNodes

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

DIRECTORY = ROOT / "examples" / "django_app"


def manage(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "app.py", *arguments], cwd=DIRECTORY, check=True, capture_output=True,
        env={**os.environ, **environment}, timeout=60,
    )


def test_the_admin_goes_on_on_the_other_node(tmp_path: Path, start_nodes: StartNodes) -> None:
    environment = {
        "DATABASE": str(tmp_path / "shop.sqlite3"),
        "CLUSTERSESSION_STATE_DIR": str(tmp_path / "unused"),
        "DJANGO_SUPERUSER_PASSWORD": "secret",
    }
    manage(environment, "migrate", "--verbosity", "0")
    manage(
        environment, "createsuperuser", "--noinput", "--username", "ann",
        "--email", "ann@example.com",
    )
    manage(environment, "check", "--fail-level", "WARNING")
    # Commands start nothing.
    assert not (tmp_path / "unused").exists()

    def make(route: str, directory: Path, ports: ClusterPorts) -> Node:
        return make_node(
            route, directory, ports, gunicorn_command("-w", "1"), app_directory=DIRECTORY,
            environment={"DATABASE": environment["DATABASE"]},
        )

    first, second = start_nodes(make, "tomcat1", "tomcat2")
    browser = Browser()
    assert "Log in" in browser.get(first, "/admin/")
    front = browser.post(first, "/admin/login/?next=/admin/", username="ann", password="secret")
    assert "Site administration" in front
    login = browser.cookie()
    assert login.endswith(".tomcat1")

    assert "Site administration" in browser.get(second, "/admin/")
    browser.get(second, "/admin/auth/group/add/")
    listing = browser.post(second, "/admin/auth/group/add/", name="bakers")
    assert "was added successfully" in listing
    assert browser.cookie() == login

    first.kill()
    wait_for(
        lambda: "Site administration" in browser.get(second, "/admin/")
        and browser.cookie() == login.replace(".tomcat1", ".tomcat2"),
        "the cookie to name the survivor",
    )
    first.start()
    wait_for(
        lambda: "Site administration" in browser.get(first, "/admin/"), "the session to come back"
    )
    browser.get(second, "/admin/")
    browser.post(second, "/admin/logout/")
    wait_for(lambda: "Log in" in browser.get(first, "/admin/"), "the logout on the other node")
