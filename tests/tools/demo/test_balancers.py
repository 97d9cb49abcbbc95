"""The demo's balancer is sticky by the route in the cookie, whichever is installed."""

from pathlib import Path

import pytest

from clustersession.tools.demo import balancers
from clustersession.tools.demo.nodes import COOKIE_NAME

PORTS = {"tomcat1": 8001, "tomcat2": 8002}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    programs: set[str] = set()
    monkeypatch.setattr(
        balancers, "_find", lambda name: f"/usr/sbin/{name}" if name in programs else None
    )
    monkeypatch.setattr(balancers, "modules_directory", lambda: Path("/usr/lib/apache2/modules"))
    return programs


def test_haproxy_is_taken_before_apache_and_our_own_where_there_is_none(
    installed: set[str], tmp_path: Path
) -> None:
    assert balancers.make_balancer(8080, PORTS, tmp_path)[0] == "the embedded balancer"
    installed.add("httpd")
    assert balancers.make_balancer(8080, PORTS, tmp_path)[0] == "Apache httpd"
    installed.add("haproxy")
    assert balancers.make_balancer(8080, PORTS, tmp_path)[0] == "HAProxy"


def test_every_configuration_names_each_node_and_the_cookie(
    installed: set[str], tmp_path: Path
) -> None:
    installed |= {"apache2", "haproxy"}
    balancers.make_balancer(8080, PORTS, tmp_path)
    installed.remove("haproxy")
    balancers.make_balancer(8080, PORTS, tmp_path)
    for name in ("haproxy.cfg", "httpd.conf"):
        text = (tmp_path / name).read_text()
        assert COOKIE_NAME in text
        assert "127.0.0.1:8080" in text
        for route, port in PORTS.items():
            assert route in text
            assert f"127.0.0.1:{port}" in text
