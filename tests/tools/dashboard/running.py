"""The real command, beside a real node."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clustersession.tools.demo.nodes import Node
from tests.support.processes import Program, wait_for

_LINK = re.compile(r"http://\S+/enter\?token=\S+")


@contextmanager
def running_dashboard(
    node: Node, directory: Path, **environment: str
) -> Iterator[tuple[str, Program]]:
    """``clustersession dashboard`` for a node: the link that it printed, and the process."""
    program = Program(
        [sys.executable, "-m", "clustersession", "dashboard"],
        log_path=directory / "dashboard.log",
        environment={
            **node.program.environment, "PYTHONUNBUFFERED": "1", **environment,
        },
    )
    program.start()
    try:
        found = wait_for(lambda: _LINK.search(program.log_tail()), "the dashboard's link")
        yield found[0], program
    finally:
        program.stop()
