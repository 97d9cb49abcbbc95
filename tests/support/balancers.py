"""Real balancers in the foreground on loopback, each in a directory of its own.

The Apache configurations are the files of ``examples/apache`` with only addresses and paths
replaced, so that what is documented is what is tested. No system service is touched.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from clustersession.admin.demo_balancers import (
    apache_frame,
    haproxy_configuration,
    modules_directory,
)
from clustersession.admin.demo_nodes import Node
from tests.support.apps import ROOT
from tests.support.processes import Program, find_program, free_port, require, require_programs

EXAMPLES = ROOT / "examples" / "apache"


class Balancer:
    """A running balancer and its port. Use it as a context manager."""

    def __init__(self, command: Sequence[str], directory: Path, port: int) -> None:
        self.port = port
        self.program = Program(command, directory / "balancer.log")

    def __enter__(self) -> "Balancer":
        self.program.start()
        try:
            self.program.wait_until_listening(self.port)
        except BaseException:
            self.program.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.program.stop()


def mod_proxy_balancer(nodes: Sequence[Node], directory: Path) -> Balancer:
    """Apache httpd with examples/apache/mod_proxy_balancer.conf."""
    require_programs("apache2")
    port = free_port()
    text = (EXAMPLES / "mod_proxy_balancer.conf").read_text()
    text = _replace(text, {
        "http://10.0.0.1:8001": f"http://127.0.0.1:{nodes[0].port}",
        "http://10.0.0.2:8002": f"http://127.0.0.1:{nodes[1].port}",
        "<VirtualHost *:80>": f"<VirtualHost 127.0.0.1:{port}>",
    })
    modules = ["proxy", "proxy_http", "proxy_balancer", "lbmethod_byrequests", "slotmem_shm"]
    return _apache(text, modules, directory, port)


def mod_jk(nodes: Sequence[Node], directory: Path) -> Balancer:
    """Apache httpd with examples/apache/mod_jk.conf and workers.properties."""
    require_programs("apache2")
    modules = modules_directory()
    require("" if modules is not None and (modules / "mod_jk.so").exists() else "mod_jk.so")
    port = free_port()
    workers = _replace((EXAMPLES / "workers.properties").read_text(), {
        "tomcat1.host=10.0.0.1": "tomcat1.host=127.0.0.1",
        "tomcat1.port=8009": f"tomcat1.port={nodes[0].port}",
        "tomcat2.host=10.0.0.2": "tomcat2.host=127.0.0.1",
        "tomcat2.port=8010": f"tomcat2.port={nodes[1].port}",
    })
    (directory / "workers.properties").write_text(workers)
    text = _replace((EXAMPLES / "mod_jk.conf").read_text(), {
        "/etc/apache2/workers.properties": str(directory / "workers.properties"),
        "/var/run/apache2/jk-runtime-status": str(directory / "jk-runtime-status"),
        "/var/log/apache2/mod_jk.log": str(directory / "mod_jk.log"),
        "<VirtualHost *:80>": f"<VirtualHost 127.0.0.1:{port}>",
    })
    return _apache(text, ["jk"], directory, port)


def haproxy(nodes: Sequence[Node], directory: Path) -> Balancer:
    """HAProxy that reads the route between first and second dot of the cookie."""
    require_programs("haproxy")
    port = free_port()
    path = directory / "haproxy.cfg"
    text = haproxy_recipe(port, {node.route: node.port for node in nodes})
    path.write_text(_replace(text, {"GET /health": "GET /api/whoami"}))
    return Balancer([_program("haproxy"), "-db", "-f", str(path)], directory, port)


def haproxy_recipe(port: int, ports: Mapping[str, int]) -> str:
    """What the README shows: the demo's configuration, health checks and repeated requests."""
    return _replace(haproxy_configuration(port, ports), {
        "    timeout server 60s\n": "    timeout server 60s\n    timeout check 5s\n",
        "    option redispatch 1\n": """    option redispatch 1
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless METH_GET
    option httpchk GET /health
    http-check expect status 200
""",
    })


def nginx(nodes: Sequence[Node], directory: Path) -> Balancer:
    """nginx of any age: a map from the cookie to one upstream per node, the others as backup."""
    require_programs("nginx")
    port = free_port()
    path = directory / "nginx.conf"
    path.write_text(_nginx_configuration(nodes, directory, port))
    command = [_program("nginx"), "-p", str(directory), "-e", "stderr", "-c", str(path)]
    return Balancer(command, directory, port)


def _nginx_configuration(nodes: Sequence[Node], directory: Path, port: int) -> str:
    upstreams = "\n".join(
        f"  upstream {node.route} {{\n    server 127.0.0.1:{node.port} fail_timeout=2s;\n"
        + "".join(
            f"    server 127.0.0.1:{other.port} backup;\n" for other in nodes if other is not node
        )
        + "  }"
        for node in nodes
    )
    anyone = "\n".join(f"    server 127.0.0.1:{node.port} fail_timeout=2s;" for node in nodes)
    routes = "\n".join(f"    ~^[^.]*\\.{node.route}$ {node.route};" for node in nodes)
    temporary = "\n".join(
        f"  {kind}_temp_path {directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
events {{ worker_connections 256; }}
http {{
  access_log off;
{temporary}
  map $cookie_CLUSTERSESSION $app {{
{routes}
    default anyone;
  }}
{upstreams}
  upstream anyone {{
{anyone}
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://$app; }}
  }}
}}
"""


def _apache(text: str, modules: Sequence[str], directory: Path, port: int) -> Balancer:
    path = directory / "httpd.conf"
    path.write_text(apache_frame(directory, port, modules) + text)
    command = [_program("apache2"), "-d", str(directory), "-f", str(path), "-DFOREGROUND"]
    return Balancer(command, directory, port)


def _program(name: str) -> str:
    path = find_program(name)
    if path is None:
        raise FileNotFoundError(f"{name}, searched in {os.environ.get('PATH')}")
    return path


def _replace(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        assert old in text, f"the example no longer contains {old}"
        text = text.replace(old, new)
    assert not re.search(r"\b10\.0\.0\.\d", text), "an address of the example was not replaced"
    return text
