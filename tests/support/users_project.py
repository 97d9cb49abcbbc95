"""The project of somebody who tests an application with what the package brings."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.documents import ROOT, blocks

PAGE = ROOT / "docs" / "testing-your-application.md"
QUIET = ("-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestDeprecationWarning")


class UsersProject:
    """Files in a directory, a developer's state directory, and a directory for temporary files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "project"
        self.developer = directory / "developer"
        # Short, as the system's own: what is in it has unix sockets.
        self.temporary = Path(tempfile.mkdtemp(prefix="cs-"))
        self.directory.mkdir()
        inherited = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("CLUSTERSESSION_", "PYTEST_", "DJANGO_"))
        }
        self.environment = {
            **inherited, "TMPDIR": str(self.temporary), "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(self.developer), "PYTHONDONTWRITEBYTECODE": "1",
        }

    def write(self, **files: str) -> None:
        """Write modules, by name without ".py"."""
        for name, text in files.items():
            (self.directory / f"{name}.py").write_text(text)

    def write_page(self) -> list[str]:
        """Write every file that the page shows; return their names."""
        names = []
        for block in blocks("python"):
            if block.document == PAGE:
                found = re.match(r"# (\w+\.py)\n", block.text)
                assert found, f"{block} says in its first line which file it is"
                (self.directory / found[1]).write_text(block.text)
                names.append(found[1])
        return names

    def run(
        self, *command: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments."""
        return subprocess.run(
            [sys.executable, *command], cwd=self.directory, capture_output=True, text=True,
            env={**self.environment, **(environment or {})}, check=False, timeout=55,
        )

    def pytest(
        self, *arguments: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run pytest with our plugin, and of all others that are here with those it needs.

        To import what this environment has takes ten times as long as a run without.
        """
        return self.run(
            "-m", "pytest", *QUIET, *plugins(arguments), *arguments,
            environment={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **(environment or {})},
        )

    def pytest_as_installed(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run pytest with every plugin that is installed, ours as the package has registered it."""
        return self.run("-m", "pytest", *QUIET, *as_registered(arguments), *arguments)

    def left(self) -> list[str]:
        """What is left of runs in the directory for temporary files."""
        return sorted(path.name for path in self.temporary.glob("clustersession-*"))


def plugins(arguments: Sequence[str]) -> list[str]:
    """Ours, unless it is switched off, and what the arguments are for."""
    wanted = {
        "clustersession.pytest": "no:clustersession" not in arguments,
        "xdist.plugin": "-n" in arguments,
        "pytest_django.plugin": "--ds" in arguments,
    }
    return [word for name, is_wanted in wanted.items() if is_wanted for word in ("-p", name)]


def as_registered(arguments: Sequence[str]) -> list[str]:
    """An installation from before the plugin does not know it: then it is named."""
    if "no:clustersession" in arguments or is_registered():
        return []
    return ["-p", "clustersession.pytest"]


def is_registered() -> bool:
    """Whether the installation of this environment has the plugin's entry point."""
    from importlib.metadata import entry_points

    return any(e.value == "clustersession.pytest" for e in entry_points(group="pytest11"))
