"""Runs the command line with the settings of a Flask application: ``flask clustersession ...``.

    $ flask --app shop clustersession sessions

The commands are those of ``clustersession``. They run in a process of their own, which is given the
application's settings in a file that only this user can read and that is gone afterwards.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext

from clustersession.settings.settings import Settings, setting_names
from clustersession.worker.runtime import Runtime

_PREFIX = "CLUSTERSESSION_"


@click.command(
    "clustersession", add_help_option=False, short_help="Look at this application's node.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@with_appcontext
def run_command(arguments: tuple[str, ...]) -> None:
    """Run a command of ``clustersession`` with the settings of this application."""
    interface: Any = current_app.session_interface
    runtime: Runtime = interface.runtime(current_app)
    sys.exit(_run(runtime.settings, arguments))


def _run(settings: Settings, arguments: Sequence[str]) -> int:
    """Run it with a file of these settings; return its exit code."""
    # Settings of the environment are in these already, and would go before the file.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}
    with tempfile.NamedTemporaryFile("w", prefix="clustersession-", suffix=".toml") as file:
        file.write(as_toml(settings))
        file.flush()
        command = [sys.executable, "-m", "clustersession", "--config", file.name, *arguments]
        return subprocess.run(command, env=kept, check=False).returncode


def as_toml(settings: Settings) -> str:
    """Write settings as a file of ours; of these types JSON's values are TOML's."""
    values = {name: getattr(settings, name) for name in setting_names()}
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
