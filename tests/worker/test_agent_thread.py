"""An agent inside the process, stopped while it is still starting."""

from pathlib import Path

from clustersession.worker.runtime import Runtime
from tests.support.processes import free_port


def test_a_process_that_stops_at_once_leaves_no_thread_behind(tmp_path: Path) -> None:
    # A thread that went on with a closed replica would fail the test by its exception.
    for number in range(10):
        runtime = Runtime.from_options({
            "distributable": True, "agent": "thread", "bind": "127.0.0.1", "route": "a",
            "multicast_address": "", "port": free_port(), "secret": "a secret for this test alone",
            "state_dir": str(tmp_path / str(number)),
        })
        runtime.manager()
        runtime.close()
