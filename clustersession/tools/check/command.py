"""Is the command ``clustersession check``."""

import sys

import click

from clustersession.tools.command_line import json_option, to_json


@click.command()
@json_option
@click.pass_obj
def check(options: dict[str, str], as_json: bool) -> None:
    """Check that settings, this host and the other nodes fit, and say what to change.

    Run it where the node runs or is to run, as the application's user. It joins nobody and changes
    nothing. Exits with 1 if something will not work. Unless the settings say otherwise,
    distributable is taken to be true.
    """
    from clustersession.tools.check.report import as_text, has_problem
    from clustersession.tools.check.run import check_all

    verdicts = check_all(options)
    rows = [verdict._asdict() for verdict in verdicts]
    click.echo(to_json(rows) if as_json else as_text(verdicts))
    sys.exit(1 if has_problem(verdicts) else 0)
