"""Is the command ``clustersession bridge``."""

import time
from typing import TYPE_CHECKING

import click

from clustersession.settings.settings import Settings
from clustersession.tools.command_line import settings_of

if TYPE_CHECKING:
    from clustersession.replica.home import NodeHome


@click.command()
@click.option("--once", is_flag=True, help="End when both have been compared.")
@click.pass_obj
def bridge(options: dict[str, str], once: bool) -> None:
    """Keep this host's node and the store in step, while hosts move from one to the other.

    The store is that of the settings here, such as CLUSTERSESSION_STORE; the node has none, or is
    stopped. Goes on until it is ended.
    """
    import asyncio

    from clustersession.core.errors import ConfigurationError
    from clustersession.net.store.open_store import plan_of
    from clustersession.operations.nodes import status
    from clustersession.replica.home import open_node_replica
    from clustersession.tools.bridge.bridge import Bridge, until_signalled
    from clustersession.tools.bridge.room import Room
    from clustersession.worker.completion import complete

    given = settings_of(options)
    if not given.store:
        raise ConfigurationError("store is not set here: set CLUSTERSESSION_STORE to the one meant")
    settings = complete(given)
    home = _home_of(settings, given)
    if status(home).get("store"):
        raise ConfigurationError(
            "the node has a store itself, and lets go of what nobody uses: stop it first"
        )
    opened = open_node_replica(home, settings)
    try:
        bridge_ = Bridge(
            opened, plan_of(settings), Room(home, opened),
            lambda: time.time_ns() // 1_000_000, click.echo,
        )
        asyncio.run(until_signalled(bridge_.join_once() if once else bridge_.follow()))
    finally:
        opened.mark_clean()



def _home_of(settings: Settings, given: Settings) -> "NodeHome":
    """Find the node. ``settings`` are those ``given``, and complete."""
    from clustersession.core.errors import ConfigurationError
    from clustersession.operations.nodes import NoSuchNode, find_home

    try:
        return find_home(settings, in_use=False)
    except NoSuchNode as error:
        if given.secret:
            raise
        home = find_home(given, in_use=False)
        raise ConfigurationError(
            f"the secret of {home.directory.name} is not set here, and what stands in the store is "
            "sealed by it: set CLUSTERSESSION_SECRET; how it follows from a framework's secret key "
            "is said in docs/operations/move.md"
        ) from error
