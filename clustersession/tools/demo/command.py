"""Is the command ``clustersession demo``."""

import sys

import click


@click.command()
@click.option("--serve", is_flag=True, help="Keep it running, for a browser and your own kill -9.")
@click.option("--store", is_flag=True, help="With a Valkey or Redis in the place of peers.")
@click.option("--port", default=0, help="The balancer's port; any free one by default.")
def demo(serve: bool, store: bool, port: int) -> None:
    """Walk through the reference scenario on this machine, every step with its real output."""
    from clustersession.tools.demo.run import run_demo

    sys.exit(run_demo(serve, store=store, port=port))
