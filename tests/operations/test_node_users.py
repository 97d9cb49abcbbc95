"""Which application a node belongs to, as people can see it."""

import os
import subprocess
import sys
from pathlib import Path

from clustersession.operations.node_users import describe_users, user_pids
from clustersession.replica.home import NodeHome
from clustersession.replica.private_directory import HeldDirectory

HOLD = """
import sys
from pathlib import Path
from clustersession.replica.private_directory import HeldDirectory
held = HeldDirectory(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_processes_that_have_it_open_are_named(tmp_path: Path) -> None:
    home = NodeHome(tmp_path)
    assert describe_users(home) == "never used"
    home.replica.mkdir()
    assert "last used on" in describe_users(home)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home.replica), "shop:app"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path,
    ) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        held = HeldDirectory(home.replica)
        assert user_pids(home.replica) == sorted([os.getpid(), worker.pid])
        held.close()
        told = describe_users(home)
        assert f"process {worker.pid}: " in told
        assert "shop:app" in told
        assert str(tmp_path) in told
        worker.communicate()
    assert user_pids(home.replica) == []
