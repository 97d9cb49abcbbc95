"""Django's admin on two nodes with one database: a login on one node is a login on the other."""

import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from clustersession.tools.demo.nodes import COOKIE_NAME, ClusterPorts, Node, make_node
from clustersession.tools.demo.processes import wait_for
from tests.support.apps import ROOT, gunicorn_command
from tests.system.conftest import StartNodes

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

DIRECTORY = ROOT / "examples" / "django_app"
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Browser:
    """Keeps cookies, for all ports of this host as browsers do, and follows redirects."""

    def __init__(self) -> None:
        self.jar = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        self._token = ""

    def get(self, node: Node, path: str) -> str:
        return self._read(urllib.request.Request(f"http://127.0.0.1:{node.direct_port}{path}"))

    def post(self, node: Node, path: str, **fields: str) -> str:
        """Send a form, with the token of the page seen last."""
        fields["csrfmiddlewaretoken"] = self._token
        url = f"http://127.0.0.1:{node.direct_port}{path}"
        return self._read(urllib.request.Request(url, urllib.parse.urlencode(fields).encode()))

    def cookie(self) -> str:
        return next((c.value or "" for c in self.jar if c.name == COOKIE_NAME), "")

    def _read(self, request: urllib.request.Request) -> str:
        with self._opener.open(request, timeout=20) as response:
            text: str = response.read().decode()
        if found := TOKEN.search(text):
            self._token = found[1]
        return text


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
