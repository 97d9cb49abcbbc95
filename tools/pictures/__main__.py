"""Makes pictures: ``python -m tools.pictures [demo] [top] [page] [--to DIRECTORY]``.

``page`` needs chromium and chromedriver, and is taken by the status page's tests.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tools.pictures.failover import failover
from tools.pictures.recording import record, steps
from tools.pictures.top import top

ROOT = Path(__file__).parents[2]
_SHOWN = ("dashboard-failover.png", "dashboard-phone.png", "dashboard-session.png")
_WATCHED = "tests/tools/dashboard/test_browser.py"


def _demo(directory: Path) -> None:
    (directory / "demo.svg").write_text(failover(steps(record())))


def _top(directory: Path) -> None:
    (directory / "top.svg").write_text(top())


def _page(directory: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="clustersession-page-") as taken:
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "extended", "-k", "failover", _WATCHED],
            cwd=ROOT, env={**os.environ, "DASHBOARD_PICTURES": taken}, check=True,
        )
        for name in _SHOWN:
            shutil.copy(Path(taken, name), directory)


PICTURES: dict[str, Callable[[Path], None]] = {"demo": _demo, "top": _top, "page": _page}


def main() -> None:
    """Make those that are asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m tools.pictures")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PICTURES))
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "images")
    asked = parser.parse_args()
    if not set(asked.names) <= set(PICTURES):
        parser.error(f"there are {', '.join(PICTURES)}")
    asked.to.mkdir(parents=True, exist_ok=True)
    for name in asked.names or PICTURES:
        PICTURES[name](asked.to)
        print(f"{name} is in {asked.to}", flush=True)


if __name__ == "__main__":
    main()
