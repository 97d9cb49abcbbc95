"""Real processes for the tests, and missing programs told apart from bugs."""

import os
import shutil

import pytest

from clustersession.admin.demo_processes import (
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
    if not missing:
        return
    message = f"not installed here: {missing}"
    if in_ci():
        pytest.fail(message)
    pytest.skip(message)


def find_program(name: str) -> str | None:
    """The program's path, also where a plain user's PATH does not reach."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")


__all__ = [
    "Program", "StepFailed", "accepts_connections", "descendants", "find_program", "free_port",
    "in_ci", "kill_hard", "kill_node", "node_pids", "require", "require_programs", "wait_for",
]
