"""Serves the page of this host's node by itself, for ``clustersession dashboard``."""

import logging
import socket
from ipaddress import ip_address

import click
import uvicorn

from clustersession.core.errors import ConfigurationError
from clustersession.operations.observing import NodeAccess
from clustersession.replica.home import NodeHome
from clustersession.settings.guessable import why_guessable
from clustersession.settings.rules import SECRET_COMMAND
from clustersession.settings.settings import Settings
from clustersession.tools.dashboard.app import Dashboard
from clustersession.tools.dashboard.guard import Guard

GRACE_S = 1


def serve(settings: Settings, home: NodeHome, host: str, port: int) -> None:
    """Serve until told to stop, and say where. Port 0: any free one. Raises ConfigurationError."""
    listening = listen(settings, host, port)
    guard = Guard(settings.dashboard_token, [*settings.dashboard_hosts, host])
    app = Dashboard(access=NodeAccess(settings, home), guard=guard)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}/"
    click.echo(f"dashboard of {home.directory.name}: {address}enter?token={guard.new_ticket()}")
    click.echo("The link works once, for one browser. Ctrl-C ends the dashboard.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off",
        proxy_headers=False, timeout_graceful_shutdown=GRACE_S,
    )
    uvicorn.Server(config).run(sockets=[listening])


def listen(settings: Settings, host: str, port: int) -> socket.socket:
    """Open the socket to serve on. Raises ConfigurationError where that must not or cannot be."""
    try:
        address = ip_address(host)
    except ValueError:
        raise ConfigurationError(
            f"--bind is {host!r}; it must be an IP address of this host, such as 127.0.0.1"
        ) from None
    if not address.is_loopback and not settings.dashboard_token:
        raise ConfigurationError(
            f"--bind is {host}, which others can reach: set dashboard_token, 16 characters or "
            "more, and put TLS in front; or bind 127.0.0.1 and come through ssh -L"
        )
    if not address.is_loopback and (why := why_guessable(settings.dashboard_token)):
        raise ConfigurationError(
            f"--bind is {host}, which others can reach, and dashboard_token can be guessed: {why}; "
            f"make one with {SECRET_COMMAND}"
        )
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(64)
    except OSError as error:
        listening.close()
        raise ConfigurationError(
            f"the dashboard cannot listen on {host} port {port}: {error.strerror}; choose another "
            "with --port"
        ) from None
    return listening
