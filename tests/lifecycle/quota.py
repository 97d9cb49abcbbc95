"""A share of a processor for some processes: by a control group, else by stop and go."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.processes import wait_for

PERIOD_US = 100_000
_ROOT = Path("/sys/fs/cgroup")


@contextmanager
def cpu_share(name: str, pids: Sequence[int], share: float, directory: Path) -> Iterator[str]:
    """Give all of them together that share of one processor; yields how that is done.

    ``directory``: an empty one, to mount the controller where a network namespace hides it.
    """
    with ExitStack() as cleanup:
        try:
            how = _group(name, pids, round(share * PERIOD_US), directory, cleanup)
        except (OSError, subprocess.CalledProcessError):
            how = _stop_and_go(pids, share, cleanup)
        yield how


def _group(
    name: str, pids: Sequence[int], quota_us: int, directory: Path, cleanup: ExitStack
) -> str:
    version_2 = _ROOT / "cgroup.controllers"
    if version_2.exists() and "cpu" in version_2.read_text().split():
        (_ROOT / "cgroup.subtree_control").write_text("+cpu")
        group, settings = _ROOT / name, {"cpu.max": f"{quota_us} {PERIOD_US}"}
    else:
        root = _ROOT / "cpu"
        if not root.exists():
            mount = ["mount", "-t", "cgroup", "-o", "cpu", "none", str(directory)]
            subprocess.run(mount, check=True, capture_output=True)
            cleanup.callback(subprocess.run, ["umount", "-l", str(directory)], check=True)
            root = directory
        group = root / name
        settings = {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota_us)}
    group.mkdir()
    cleanup.callback(_dissolve, group)
    for file, value in settings.items():
        (group / file).write_text(value)
    for pid in pids:
        (group / "cgroup.procs").write_text(str(pid))
    return "control group"


def _dissolve(group: Path) -> None:
    def empty() -> bool:
        members = (group / "cgroup.procs").read_text().split()
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                (group.parent / "cgroup.procs").write_text(pid)
        return not members

    wait_for(empty, "the group to be empty")
    group.rmdir()


def _stop_and_go(pids: Sequence[int], share: float, cleanup: ExitStack) -> str:
    over = threading.Event()

    def alternate() -> None:
        period_s = PERIOD_US / 1e6
        while True:
            for number, lasts_s in ((signal.SIGSTOP, 1 - share), (signal.SIGCONT, share)):
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                if over.wait(lasts_s * period_s) and number is signal.SIGCONT:
                    return

    thread = threading.Thread(target=alternate)
    thread.start()
    cleanup.callback(thread.join)
    cleanup.callback(over.set)
    return "stop and go"
