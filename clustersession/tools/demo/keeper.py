"""Ends what a killed demo has left: kill -9 reaches the demo, and this learns of it by a pipe.

    python -m clustersession.tools.demo.keeper DIRECTORY
"""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from clustersession.tools.demo.processes import kill_node

END_TIMEOUT_S = 10.0


@contextlib.contextmanager
def kept(directory: Path) -> Iterator[None]:
    """Have every process that belongs to a directory ended, and it removed, when this one dies."""
    keeper = subprocess.Popen(
        [sys.executable, "-m", "clustersession.tools.demo.keeper", str(directory)],
        stdin=subprocess.PIPE, start_new_session=True,
    )
    try:
        yield
    finally:
        assert keeper.stdin is not None
        with contextlib.suppress(OSError):
            keeper.stdin.close()
        keeper.wait(END_TIMEOUT_S)


def main(arguments: list[str]) -> int:
    """Wait for the end of the pipe, which nothing is ever written to; then clear up."""
    (directory,) = arguments
    sys.stdin.buffer.read()
    kill_node(Path(directory), END_TIMEOUT_S)
    shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
