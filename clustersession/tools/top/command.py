"""Is the command ``clustersession top``."""

import os

import click

from clustersession.tools.command_line import settings_of


@click.command()
@click.option("--once", is_flag=True, help="Print one look and exit.")
@click.option(
    "--interval", "interval_s", default=1.0, show_default=True,
    type=click.FloatRange(min=0.1, max=3600), metavar="SECONDS", help="Between two looks.",
)
@click.pass_obj
def top(options: dict[str, str], once: bool, interval_s: float) -> None:
    """Watch a node: members, lag, rates, the newest lines of its log.

    Keys: q quits, p pauses. Where there is no terminal it prints what it would draw.
    """
    from clustersession.operations.nodes import find_home
    from clustersession.tools.top.live import run_top

    home = find_home(settings_of(options))
    run_top(home, interval_s, once=once, color="NO_COLOR" not in os.environ)
