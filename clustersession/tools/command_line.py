"""Does what all commands do: reads the settings, and writes JSON for programs."""

import json
from collections.abc import Mapping

import click

from clustersession.settings.settings import Settings
from clustersession.settings.sources import load_settings

json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


def settings_of(options: Mapping[str, str]) -> Settings:
    """Read the settings as the application does; the command line's options override them."""
    return load_settings(**options)


def to_json(value: object) -> str:
    """Write plain values as JSON that people can read too."""
    return json.dumps(value, indent=2)
