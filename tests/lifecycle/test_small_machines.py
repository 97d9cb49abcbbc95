"""Containers and small machines: read-only roots, users without a home, PID 1, little space."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from clustersession.net.agent_link import AgentGone
from clustersession.operations.nodes import ask_agent
from clustersession.replica.home import NodeHome
from clustersession.wire.local import Operation
from tests.lifecycle.conftest import StartWorker, zombies
from tests.support.processes import (
    descendants,
    kill_hard,
    node_pids,
    require_programs,
    require_root,
    wait_for,
)

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]

NOBODY_KNOWS = "54321"
# An interpreter below /root can be reached by others with this capability only.
AS_NOBODY = (
    "setpriv", f"--reuid={NOBODY_KNOWS}", f"--regid={NOBODY_KNOWS}", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
)
POD = "web-6d4cf56db6-abcde.prod.example"


@pytest.fixture(autouse=True)
def needs() -> None:
    require_root("a container by hand")
    require_programs("unshare", "setpriv", "mount", "hostname")


def in_mounts(script: str) -> list[str]:
    """A mount namespace of its own where the script was run first; $0 is what follows it."""
    return ["unshare", "-m", "sh", "-ec", f"mount --make-rprivate /\n{script}\nexec \"$0\" \"$@\""]


def agent_pid(home: NodeHome) -> int:
    try:
        return int(ask_agent(home, Operation.STATUS)["agent_pid"])
    except (AgentGone, TimeoutError):
        return 0


def test_a_read_only_root_with_a_writable_state_directory(
    start: StartWorker, state_dir: Path
) -> None:
    # The state directory is below /tmp, which is read-only with the rest.
    worker = start(*in_mounts(
        f"mount -t tmpfs none {state_dir}\nmount -o remount,bind,ro /\n"
        "! touch /tmp/x /var/x 2>/dev/null"
    ))
    assert worker.first_word() == "tomcat1"
    assert [worker.count() for _ in range(3)] == [1, 2, 3]


def test_a_user_whom_nobody_knows_without_a_home(
    start: StartWorker, state_dir: Path
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        os.chmod(temporary, 0o1777)
        worker = start(
            *AS_NOBODY, "env", "-u", "HOME", "-u", "XDG_STATE_HOME",
            CLUSTERSESSION_STATE_DIR="", TMPDIR=temporary,
        )
        assert worker.first_word() == "tomcat1"
        assert worker.count() == 1
        state = Path(temporary) / f"clustersession-{NOBODY_KNOWS}"
        assert state.stat().st_mode & 0o777 == 0o700
        assert list(state.glob("clustersession.tomcat1.*/agent.sock"))
        worker.stop()
        wait_for(lambda: not node_pids(Path(temporary)), "the agent to go")


def test_a_home_that_cannot_be_written_counts_as_none(start: StartWorker) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        os.chmod(temporary, 0o1777)
        worker = start(
            *AS_NOBODY, "env", "-u", "XDG_STATE_HOME", "HOME=/",
            CLUSTERSESSION_STATE_DIR="", TMPDIR=temporary,
        )
        assert worker.first_word() == "tomcat1"
        assert worker.count() == 1
        worker.stop()
        wait_for(lambda: not node_pids(Path(temporary)), "the agent to go")


def test_a_state_directory_of_somebody_else_is_refused_with_the_reason(
    refused: Callable[..., str], home: NodeHome
) -> None:
    node = home.directory
    node.mkdir(mode=0o700)
    os.chown(node, int(NOBODY_KNOWS), -1)
    why = refused()
    assert f"{node} belongs to another user" in why
    assert "Traceback" not in why


def test_a_network_file_system_is_refused_with_the_reason(
    refused: Callable[..., str], state_dir: Path
) -> None:
    fake = state_dir.parent / "mountinfo"
    fake.write_text(
        "1 0 8:1 / / rw - ext4 /dev/root rw\n"
        f"2 1 0:50 / {state_dir} rw,relatime shared:1 - nfs4 files.example:/export rw\n"
    )
    # What the kernel would say of the process that the shell becomes.
    why = refused(*in_mounts(f"mount --bind {fake} /proc/$$/mountinfo"))
    assert "is on a network file system (nfs4); choose a local state_dir" in why
    assert "Traceback" not in why


def test_64_mib_are_enough(start: StartWorker, state_dir: Path) -> None:
    worker = start(*in_mounts(f"mount -t tmpfs -o size=64m none {state_dir}"))
    assert worker.first_word() == "tomcat1"
    assert [worker.count() for _ in range(200)] == list(range(1, 201))


def test_the_route_follows_from_the_name_of_a_pod(start: StartWorker) -> None:
    worker = start(
        "unshare", "-u", "sh", "-c", f"hostname {POD}; exec \"$0\" \"$@\"",
        CLUSTERSESSION_ROUTE="",
    )
    assert worker.first_word() == "web_6d4cf56db6_abcde"
    assert worker.count() == 1


def test_as_pid_1_it_leaves_no_zombies_and_replaces_its_agent(
    start: StartWorker, home: NodeHome
) -> None:
    worker = start("unshare", "-p", "-f", "--mount-proc")
    assert worker.first_word() == "tomcat1"
    (first,) = descendants(worker.process.pid)[:1]
    assert Path(f"/proc/{first}/status").read_text().count("NSpid:") == 1
    for number in range(1, 4):
        # Inside, worker and agent have small numbers; outside the agent is the child of PID 1.
        before = wait_for(lambda: agent_pid(home), "an agent")
        kill_hard([pid for pid in descendants(first) if is_agent(pid)])
        wait_for(lambda b=before: agent_pid(home) not in (0, b), "another agent")
        assert worker.count() == number
    wait_for(lambda: not zombies(first), "the dead agents to be taken notice of")


def is_agent(pid: int) -> bool:
    try:
        return b"clustersession.agent" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_two_containers_that_share_their_pids(
    start: StartWorker, environment: dict[str, str], home: NodeHome
) -> None:
    """As examples/compose has it: the agent in one, workers that wait for it in the other."""
    require_programs("nsenter")
    agent = subprocess.Popen(
        ["unshare", "-p", "-f", "--mount-proc", sys.executable, "-m", "clustersession", "agent"],
        env={**environment, "CLUSTERSESSION_DISTRIBUTABLE": "true"}, stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: agent_pid(home), "the agent")
        (inside,) = descendants(agent.pid)
        worker = start(
            "nsenter", "-t", str(inside), "-p", "-m", "--", CLUSTERSESSION_AGENT="external"
        )
        assert worker.first_word() == "tomcat1"
        assert worker.count() == 1
    finally:
        kill_hard(descendants(agent.pid))
        agent.wait(10)


def test_two_pid_namespaces_on_one_state_directory_are_refused_with_the_reason(
    refused: Callable[..., str], environment: dict[str, str], home: NodeHome
) -> None:
    """The second container that a compose file makes, when it forgets to share the PIDs."""
    agent = subprocess.Popen(
        ["unshare", "-p", "-f", "--mount-proc", sys.executable, "-m", "clustersession", "agent"],
        env={**environment, "CLUSTERSESSION_DISTRIBUTABLE": "true"}, stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: agent_pid(home), "the agent")
        why = refused("unshare", "-p", "-f", "--mount-proc", CLUSTERSESSION_AGENT="external")
        assert "must share their PID namespace too" in why
        assert "Traceback" not in why
    finally:
        kill_hard(descendants(agent.pid))
        agent.wait(10)
