"""Runs the frameworks' own tests against our sessions; see the package's docstring.

    python -m tests.frameworks.run [--mode store] [--fetch] [--strict] [--verbose] [NAME ...]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clustersession.worker.run_of_tests import CONFIGURED
from tests.frameworks.entry import DIRECTORY, ROOT, Entry, load_entries
from tests.frameworks.judge import Result, complaints, read_results, report
from tests.frameworks.sources import fetch, interpreter
from tests.store.servers import Server, store_of, take_sessions

RUN_S_MAX = 300


def run(entry: Entry, *, store: Server | None = None, verbose: bool = False) -> list[Result]:
    """Run one framework's tests. Raises RuntimeError when they cannot even be collected."""
    source, packages = fetch(entry)
    with tempfile.TemporaryDirectory(prefix="frameworks-") as name:
        directory = Path(name)
        junit = directory / "report.xml"
        # An ini file of ours: theirs may ask for plugins, and must not turn warnings into errors.
        settings = directory / "pytest.ini"
        settings.write_text("[pytest]\njunit_family = xunit1\nasyncio_mode = auto\n")
        command = [
            str(interpreter(entry)), "-m", "pytest", "-q", "-c", str(settings),
            "--rootdir", str(source),
            "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "ours_opened",
            "-p", entry.plugin, "--junit-xml", str(junit), *entry.tests,
            *(["-k", entry.keyword.strip()] if entry.keyword else []),
        ]
        result = subprocess.run(
            command, cwd=source, env=prepare(directory, packages, store), capture_output=True,
            text=True, check=False, timeout=RUN_S_MAX,
        )
        if verbose:
            print(result.stdout)
        if result.returncode not in (0, 1) or not junit.exists():
            raise RuntimeError(f"{entry.name}: {result.stdout[-4000:]}{result.stderr[-4000:]}")
        return read_results(junit)


def prepare(directory: Path, packages: Path, store: Server | None) -> dict[str, str]:
    """The environment of a run: nothing of the caller's settings, a state directory of its own.

    With a store the agent is a thread of each process. It is on this host, so the secrets are those
    that the tests of the framework have.
    """
    stored = {} if store is None else {
        "DISTRIBUTABLE": "true", "AGENT": "thread", "BIND": "127.0.0.1", "STORE": store.url,
        "NEAR_CACHE_BYTES_MAX": str(2**25),
        # So that sessions go where the settings say, though this is a run of tests.
        "TEST_STATE_DIR": CONFIGURED,
    }
    environment = {
        name: value for name, value in os.environ.items()
        if not name.startswith(("CLUSTERSESSION_", "PYTEST_"))
    }
    paths = [packages, DIRECTORY / "plugins", ROOT]
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join(str(path) for path in paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_STATE_HOME": str(directory / "state"),
        "CLUSTERSESSION_ROUTE": "a",
        "CLUSTERSESSION_MAP_BYTES": str(2**26),
        **{f"CLUSTERSESSION_{name}": value for name, value in stored.items()},
    }


def main() -> int:
    """Run what was asked for; 1 when something is not as expected."""
    parser = argparse.ArgumentParser(description="The frameworks' own session tests with ours.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="frameworks; default: all")
    parser.add_argument("--mode", choices=("alone", "store"), default="alone")
    parser.add_argument("--fetch", action="store_true", help="only download")
    parser.add_argument("--strict", action="store_true", help="fail where a Python is missing")
    parser.add_argument("--verbose", action="store_true", help="print what pytest says")
    arguments = parser.parse_args()
    entries = {entry.name: entry for entry in load_entries()}
    if unknown := set(arguments.names) - set(entries):
        parser.error(f"not among {', '.join(entries)}: {', '.join(sorted(unknown))}")
    with store_of(arguments.mode) as store:
        return run_all(arguments, entries, store)


def run_all(
    arguments: argparse.Namespace, entries: dict[str, Entry], store: Server | None
) -> int:
    """Run them one after the other; 1 when something is not as expected."""
    wrong = 0
    for name in arguments.names or entries:
        entry, began_s = entries[name], time.monotonic()
        if interpreter(entry) is None:
            print(f"{name} was NOT RUN: it needs Python {entry.python}, and none is installed")
            wrong += arguments.strict
            continue
        if arguments.fetch:
            fetch(entry)
            continue
        results = run(entry, store=store, verbose=arguments.verbose)
        print(f"{report(entry, results)}\n    {time.monotonic() - began_s:.1f} s")
        stored = None
        if store is not None:
            stored = take_sessions(store)
            print(f"    {stored} sessions in the store")
        for complaint in complaints(entry, results, stored):
            wrong += 1
            print(f"    WRONG {complaint}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
