"""Is the command ``clustersession dashboard``."""

import click

from clustersession.tools.command_line import settings_of


@click.command()
@click.option("--bind", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Where to listen; others than loopback need dashboard_token.")
@click.option("--port", default=0, type=click.IntRange(0, 65535),
              help="Any free one by default.")
@click.pass_obj
def dashboard(options: dict[str, str], bind: str, port: int) -> None:
    """Serve the status page of this host's node, for a browser.

    Prints a link that lets one browser in, once. From elsewhere come through ssh -L, or set
    dashboard_token.
    """
    from clustersession.operations.nodes import find_home

    settings = settings_of(options)
    home = find_home(settings)
    try:
        from clustersession.tools.dashboard.serving import serve
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"the dashboard needs {error.name}: pip install 'clustersession[dashboard]'"
        ) from None
    serve(settings, home, bind, port)
