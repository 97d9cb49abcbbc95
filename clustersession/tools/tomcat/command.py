"""Is the command ``clustersession import-tomcat``."""

from pathlib import Path

import click

from clustersession.tools.command_line import json_option, to_json


@click.command("import-tomcat")
@click.argument(
    "files", metavar="SERVER.XML [WEB.XML] [CONTEXT.XML]", nargs=-1, required=True,
    type=click.Path(path_type=Path),
)
@click.option("--cluster", metavar="ENGINE[/HOST]", help="Which <Cluster>, if there are several.")
@click.option("--context", metavar="PATH", help="Which <Context> of server.xml, if several.")
@json_option
def import_tomcat(
    files: tuple[Path, ...], cluster: str | None, context: str | None, as_json: bool
) -> None:
    """Print Tomcat's <Cluster> as a settings file of ours.

    Each attribute gets a line: mapped, not needed and why, no equivalent and what to do instead, or
    to decide. Nothing is read but the files named.
    """
    from clustersession.tools.tomcat.application import find_application
    from clustersession.tools.tomcat.importing import import_application
    from clustersession.tools.tomcat.output import as_plain, as_toml

    found = import_application(find_application(files, cluster, context))
    click.echo(to_json(as_plain(found)) if as_json else as_toml(found))
