"""Encodes what a worker writes to the standard input of the agent that it starts.

Apart from ``process``, because a worker needs nothing else of the agent.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from clustersession.core.errors import ConfigurationError
from clustersession.replica.home import NodeHome
from clustersession.settings.settings import Settings, setting_names


def encode_start(settings: Settings, home: NodeHome) -> bytes:
    """Encode what an agent needs to know at its start."""
    start = {"directory": str(home.directory), "settings": dataclasses.asdict(settings)}
    return json.dumps(start).encode()


def decode_start(data: bytes) -> tuple[Settings, NodeHome]:
    """Return the settings and the directory of an agent that a worker starts.

    The worker may be of another version, when the library was exchanged under it: settings that it
    does not give have their defaults, and those that are not known here are left out. Raises
    ConfigurationError for anything else.
    """
    given, directory = _read_start(data)
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if name in setting_names()
    }
    return Settings(**values), NodeHome(Path(directory))


def unknown_settings(data: bytes) -> list[str]:
    """Return the names of settings that ``decode_start`` leaves out."""
    return sorted(_read_start(data)[0].keys() - set(setting_names()))


def _read_start(data: bytes) -> tuple[dict[str, Any], str]:
    try:
        start = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"not the settings of an agent: {error}") from None
    settings = start.get("settings") if isinstance(start, dict) else None
    directory = start.get("directory") if isinstance(start, dict) else None
    if not isinstance(settings, dict) or not isinstance(directory, str):
        raise ConfigurationError("not the settings of an agent: settings or directory are missing")
    return settings, directory
