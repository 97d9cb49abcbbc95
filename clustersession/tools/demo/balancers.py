"""Configures the demo's balancer: HAProxy or Apache httpd where installed, else our own."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from clustersession.tools.demo.nodes import COOKIE_NAME
from clustersession.tools.demo.processes import Program

APACHE_MODULES = ("proxy", "proxy_http", "proxy_balancer", "lbmethod_byrequests", "slotmem_shm")
_SEARCH_PATH = ":/usr/sbin:/usr/local/sbin:/opt/homebrew/bin"
_MODULE_DIRECTORIES = (
    "/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2",
)


def make_balancer(port: int, ports: Mapping[str, int], directory: Path) -> tuple[str, Program]:
    """Make a sticky balancer, not started, and tell its name. ``ports`` maps routes to ports."""
    log_path = directory / "balancer.log"
    haproxy = _find("haproxy")
    if haproxy is not None:
        path = directory / "haproxy.cfg"
        path.write_text(haproxy_configuration(port, ports))
        return "HAProxy", Program([haproxy, "-db", "-f", str(path)], log_path)
    apache = _find("apache2") or _find("httpd")
    modules = modules_directory()
    if apache is not None and modules is not None:
        path = directory / "httpd.conf"
        path.write_text(
            apache_frame(directory, port, APACHE_MODULES) + _apache_balancer(port, ports)
        )
        command = [apache, "-d", str(directory), "-f", str(path), "-DFOREGROUND"]
        return "Apache httpd", Program(command, log_path)
    nodes = [f"{route}={node_port}" for route, node_port in ports.items()]
    module = "clustersession.tools.demo.embedded_balancer"
    command = [sys.executable, "-m", module, str(port), COOKIE_NAME]
    return "the embedded balancer", Program(
        [*command, *nodes], log_path,
        # By this it is found as one of the demo's, as the others are by their configuration.
        environment={"TMPDIR": str(directory)},
    )


def haproxy_configuration(port: int, ports: Mapping[str, int]) -> str:
    """Configure HAProxy, 2.4 or newer: what follows the cookie's first dot names the server."""
    servers = "\n".join(
        f"    server {route} 127.0.0.1:{node_port} check inter 500ms fall 2 rise 1"
        for route, node_port in ports.items()
    )
    return f"""defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s

frontend web
    bind 127.0.0.1:{port}
    default_backend app

backend app
    # A server that refuses is passed over at once, without waiting for the health check.
    retries 2
    option redispatch 1
    use-server %[req.cook({COOKIE_NAME}),field(2,.)] if {{ req.cook({COOKIE_NAME}) -m found }}
{servers}
"""


def apache_frame(directory: Path, port: int, modules: Sequence[str]) -> str:
    """Configure what httpd needs around a virtual host to run from a directory of ours."""
    found = modules_directory()
    loads = "\n".join(
        f'LoadModule {module}_module "{found}/mod_{module}.so"'
        for module in ("mpm_event", "authz_core", *modules)
        # Compiled in by some distributions.
        if found is not None and (found / f"mod_{module}.so").exists()
    )
    # Started by root, httpd insists on serving as somebody else.
    user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    return f"""ServerName localhost
Listen 127.0.0.1:{port}
PidFile "{directory}/httpd.pid"
DefaultRuntimeDir "{directory}"
ErrorLog "{directory}/httpd-error.log"
StartServers 1
{user}{loads}
"""


def modules_directory() -> Path | None:
    """Find where httpd's modules are installed."""
    return next((path for path in map(Path, _MODULE_DIRECTORIES) if path.is_dir()), None)


def _apache_balancer(port: int, ports: Mapping[str, int]) -> str:
    members = "\n".join(
        f'    BalancerMember "http://127.0.0.1:{node_port}" route={route} retry=1'
        for route, node_port in ports.items()
    )
    return f"""<Proxy "balancer://app">
{members}
    ProxySet stickysession={COOKIE_NAME}|{COOKIE_NAME.lower()} scolonpathdelim=On
</Proxy>
<VirtualHost 127.0.0.1:{port}>
    ProxyPass "/" "balancer://app/"
</VirtualHost>
"""


def _find(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + _SEARCH_PATH)
