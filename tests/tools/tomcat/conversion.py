"""Runs ``clustersession import-tomcat`` on files, and reads what it says."""

import json
import tomllib
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from clustersession.cli import main
from clustersession.settings.settings import Settings
from clustersession.settings.sources import load_settings

FILES = Path(__file__).parent / "files"
HA = "org.apache.catalina.ha"


def run(*arguments: str | Path, status: int = 0) -> str:
    result = CliRunner().invoke(main, ["import-tomcat", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.output


def settings_in(text: str, tmp_path: Path) -> Settings:
    path = tmp_path / "imported.toml"
    path.write_text(text)
    return load_settings(config=path)


def imported(tmp_path: Path, inside: str, *more: Path, arguments: tuple[str, ...] = ()) -> Any:
    """The JSON for a cluster with this inside; its TOML is loaded and must say the same."""
    server = tmp_path / "server.xml"
    server.write_text(f'<Cluster className="{HA}.tcp.SimpleTcpCluster">{inside}</Cluster>')
    found = json.loads(run("--json", *arguments, server, *more))
    assert tomllib.loads(run(*arguments, server, *more)) == found["settings"]
    settings_in(run(*arguments, server, *more), tmp_path)
    return found


def fates(found: Any) -> dict[str, str]:
    return {line["what"]: line["fate"] for line in found["lines"]}
