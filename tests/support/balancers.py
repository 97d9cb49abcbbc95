"""Real balancers in the foreground on loopback, each in a directory of its own.

The configurations are the files of ``examples`` with only addresses and paths replaced, so that
what is documented is what is tested. A third node is added as the examples say. No system service
is touched.
"""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from clustersession.tools.demo.balancers import apache_frame, modules_directory
from clustersession.tools.demo.nodes import Node
from tests.support.apps import ROOT
from tests.support.processes import Program, find_program, free_port, require, require_programs

EXAMPLES = ROOT / "examples"


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


MakeBalancer = Callable[[Sequence[Node], Path], Balancer]


def mod_proxy_balancer(nodes: Sequence[Node], directory: Path) -> Balancer:
    """Apache httpd with examples/apache/mod_proxy_balancer.conf."""
    require_programs("apache2")
    port = free_port()
    text = _example("apache/mod_proxy_balancer.conf", [node.port for node in nodes])
    text = _replace(text, {"<VirtualHost *:80>": f"<VirtualHost 127.0.0.1:{port}>"})
    modules = [
        "proxy", "proxy_http", "proxy_balancer", "watchdog", "proxy_hcheck", "lbmethod_byrequests",
        "slotmem_shm",
    ]
    return _apache(text, modules, directory, port)


def mod_jk(nodes: Sequence[Node], directory: Path) -> Balancer:
    """Apache httpd with examples/apache/mod_jk.conf and workers.properties."""
    require_programs("apache2")
    modules = modules_directory()
    require("" if modules is not None and (modules / "mod_jk.so").exists() else "mod_jk.so")
    port = free_port()
    ports = [node.port for node in nodes]
    workers = _with_more_nodes((EXAMPLES / "apache" / "workers.properties").read_text(), len(ports))
    for number, node_port in enumerate(ports, 1):
        workers = _replace(workers, {
            f"tomcat{number}.host=10.0.0.{number}": f"tomcat{number}.host=127.0.0.1",
            f"tomcat{number}.port={8008 + number}": f"tomcat{number}.port={node_port}",
        })
    (directory / "workers.properties").write_text(_complete(workers))
    text = _replace((EXAMPLES / "apache" / "mod_jk.conf").read_text(), {
        "/etc/apache2/workers.properties": str(directory / "workers.properties"),
        "/var/run/apache2/jk-runtime-status": str(directory / "jk-runtime-status"),
        "/var/log/apache2/mod_jk.log": str(directory / "mod_jk.log"),
        "<VirtualHost *:80>": f"<VirtualHost 127.0.0.1:{port}>",
    })
    return _apache(text, ["jk"], directory, port)


def haproxy(nodes: Sequence[Node], directory: Path, log_format: str = "") -> Balancer:
    """HAProxy with examples/haproxy/haproxy.cfg; with a format it logs its requests, too."""
    return haproxy_before([node.port for node in nodes], directory, log_format)


def haproxy_before(ports: Sequence[int], directory: Path, log_format: str = "") -> Balancer:
    """The same before servers that need not be nodes."""
    port = free_port()
    addresses = [("127.0.0.1", node_port) for node_port in ports]
    return Balancer(haproxy_command(addresses, port, directory, log_format), directory, port)


def haproxy_command(
    addresses: Sequence[tuple[str, int]], port: int, directory: Path, log_format: str = ""
) -> list[str]:
    """What runs HAProxy before servers anywhere, itself on a loopback port."""
    require_programs("haproxy")
    path = directory / "haproxy.cfg"
    bind = f"bind 127.0.0.1:{port}"
    if log_format:
        bind += f'\n    log stdout format raw local0\n    log-format "{log_format}"'
    path.write_text(_replace(_example_at("haproxy/haproxy.cfg", addresses), {"bind :80": bind}))
    return [_program("haproxy"), "-db", "-f", str(path)]


def nginx(nodes: Sequence[Node], directory: Path) -> Balancer:
    """nginx with examples/nginx/nginx.conf, inside of what a distribution's own file has."""
    require_programs("nginx")
    port = free_port()
    text = _example("nginx/nginx.conf", [node.port for node in nodes])
    text = _replace(text, {"listen 80;": f"listen 127.0.0.1:{port};"})
    temporary = "\n".join(
        f"{kind}_temp_path {directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = directory / "nginx.conf"
    path.write_text(
        f"daemon off;\nworker_processes 1;\npid {directory}/nginx.pid;\n"
        f"events {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n{temporary}\n{text}}}\n"
    )
    command = [_program("nginx"), "-p", str(directory), "-e", "stderr", "-c", str(path)]
    return Balancer(command, directory, port)


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


def _example(name: str, ports: Sequence[int]) -> str:
    """A file of the examples for nodes on loopback."""
    return _example_at(name, [("127.0.0.1", port) for port in ports])


def _example_at(name: str, addresses: Sequence[tuple[str, int]]) -> str:
    text = _with_more_nodes((EXAMPLES / name).read_text(), len(addresses))
    return _complete(_replace(text, {
        f"10.0.0.{number}:800{number}": f"{host}:{port}"
        for number, (host, port) in enumerate(addresses, 1)
    }))


def _with_more_nodes(text: str, count: int) -> str:
    """The two nodes of an example made ``count``, the way its comments say."""
    for number in range(3, count + 1):
        text = _with_node(text, number)
    return text


def _with_node(text: str, number: int) -> str:
    upstream = re.compile(r"^upstream (\w+) \{\n(.*?)^\}\n", re.MULTILINE | re.DOTALL)
    new = f"    server 10.0.0.{number}:800{number}"

    def lengthened(match: re.Match[str]) -> str:
        kind = " fail_timeout=2s;" if match[1] == "anyone" else " backup;"
        return f"upstream {match[1]} {{\n{match[2]}{new}{kind}\n}}\n"

    pools = {match[1]: match[2] for match in upstream.finditer(text)}
    text = upstream.sub(lengthened, text)
    if pools:
        others = re.sub(r" fail_timeout=2s;", " backup;", pools["anyone"])
        text += f"upstream tomcat{number} {{\n{new} fail_timeout=2s;\n{others}}}\n"
    lines = []
    # httpd's lines may go on behind a backslash.
    for line in re.split(r"(?<!\\)\n", text):
        lines.append(line.replace("tomcat1,tomcat2", f"tomcat1,tomcat2,tomcat{number}"))
        of_second = "tomcat2" in line and "tomcat1" not in line
        if of_second and not line.lstrip().startswith(("#", "upstream")):
            for old, made in (
                ("tomcat2", f"tomcat{number}"), ("10.0.0.2", f"10.0.0.{number}"),
                ("8002", f"800{number}"), ("8010", str(8008 + number)),
            ):
                line = line.replace(old, made)
            lines.append(line)
    return "\n".join(lines) + "\n"


def _replace(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        assert old in text, f"the example no longer contains {old}"
        text = text.replace(old, new)
    return text


def _complete(text: str) -> str:
    assert not re.search(r"\b10\.0\.0\.\d", text), "an address of the example was not replaced"
    return text
