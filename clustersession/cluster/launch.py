"""Starting the node's agent from a worker: once, whoever races, and without a child left behind."""

import fcntl
import logging
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

from clustersession.agent.process import encode_start
from clustersession.core.settings import Settings
from clustersession.replica.home import NodeHome

START_TIMEOUT_S = 10.0
UP_TIMEOUT_S = 5.0
COMPLAIN_INTERVAL_S = 60.0
SPAWN_INTERVAL_S = 2.0
LOOK_INTERVAL_S = 0.02

logger = logging.getLogger("clustersession")


def start_agent(settings: Settings, home: NodeHome, is_up: Callable[[], bool]) -> bool:
    """Start the agent unless a sibling is doing so, and wait until it is up.

    Returns whether it is; a sibling's attempt is waited for in the same way. Never raises.
    """
    try:
        lock = os.open(
            home.directory / "agent.launch", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        logger.error("the clustersession agent cannot be started: %s", error)
        return False
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return _wait(is_up, time.monotonic() + 1.0)
        if is_up():
            return True
        give_up_s = time.monotonic() + UP_TIMEOUT_S
        while time.monotonic() < give_up_s:
            # Again, because one that found its predecessor still leaving has gone at once.
            _spawn(settings, home)
            if _wait(is_up, time.monotonic() + SPAWN_INTERVAL_S):
                return True
        _complain(home, f"the clustersession agent did not come up: {_last_words(home)}")
        return False
    except (OSError, subprocess.SubprocessError) as error:
        logger.error("the clustersession agent cannot be started: %s", error)
        return False
    finally:
        os.close(lock)


def _spawn(settings: Settings, home: NodeHome) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    environment.pop("PYTHONSTARTUP", None)
    process = subprocess.Popen(
        [_interpreter(), "-m", "clustersession.agent"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd="/",
        start_new_session=True,
    )
    # The process forks and exits at once, so this waits for an interpreter to start, not for it to
    # run; afterwards the agent is nobody's child.
    process.communicate(encode_start(settings, home), timeout=START_TIMEOUT_S)


def _interpreter() -> str:
    """The Python to run: under uWSGI ``sys.executable`` is the server itself."""
    executable = sys.executable or ""
    if "python" in os.path.basename(executable).lower():
        return executable
    for name in (f"python{sys.version_info[0]}.{sys.version_info[1]}", "python3"):
        candidate = Path(sysconfig.get_path("scripts")) / name
        if candidate.exists():
            return str(candidate)
    return "python3"


def _wait(is_up: Callable[[], bool], deadline_s: float) -> bool:
    while not is_up():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(LOOK_INTERVAL_S)
    return True


_complained_s: dict[Path, float] = {}


def _complain(home: NodeHome, text: str) -> None:
    """Log, but not at every attempt."""
    now_s = time.monotonic()
    if now_s - _complained_s.get(home.directory, float("-inf")) > COMPLAIN_INTERVAL_S:
        _complained_s[home.directory] = now_s
        logger.error("%s", text)


def _last_words(home: NodeHome) -> str:
    """What the agent logged last, which says why it is not there."""
    try:
        lines = home.agent_log.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    troubles = [line for line in lines[-20:] if " ERROR " in line or " WARNING " in line]
    return f"{troubles[-1] if troubles else 'it logged nothing'} (see {home.agent_log})"
