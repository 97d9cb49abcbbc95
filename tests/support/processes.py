"""Real processes for the tests, and missing programs told apart from bugs."""

import os
import shutil
from typing import NoReturn

import pytest

from clustersession.tools.demo.processes import (
    Program,
    StepFailed,
    accepts_connections,
    descendants,
    free_port,
    kill_hard,
    kill_node,
    node_pids,
    wait_for,
)


def in_ci() -> bool:
    """Whether this runs where every program must be present."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def require_programs(*names: str) -> None:
    """Skip the test, naming the missing programs; in CI a missing program is a failure."""
    require(", ".join(name for name in names if find_program(name) is None))


def require(missing: str) -> None:
    """Skip, or in CI fail, when ``missing`` names something."""
    if missing:
        cannot_run(f"not installed here: {missing}")


def require_root(why: str) -> None:
    """Skip, or in CI fail, unless this is root: namespaces, other users and quotas are root's."""
    if os.geteuid() != 0:
        cannot_run(f"{why} needs root")


def cannot_run(reason: str) -> NoReturn:
    """The test cannot run here: a skip that says why, in CI a failure."""
    if in_ci():
        pytest.fail(reason)
    pytest.skip(reason)


def find_program(name: str) -> str | None:
    """The program's path, also where a plain user's PATH does not reach."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")


__all__ = [
    "Program", "StepFailed", "accepts_connections", "cannot_run", "descendants", "find_program",
    "free_port", "in_ci", "kill_hard", "kill_node", "node_pids", "require", "require_programs",
    "require_root", "wait_for",
]
