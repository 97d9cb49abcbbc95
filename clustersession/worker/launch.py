"""Starts a node's agent: once, whoever races, and without a child left behind.

An agent of an older version of this library is replaced; one of a newer version never is. One that
has another store is replaced as well, when nobody uses it any more; it leaves by itself when those
that do have gone (``agent/agent.py``).
"""

import fcntl
import logging
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clustersession import __version__
from clustersession.agent.start import encode_start
from clustersession.core.errors import WireError
from clustersession.core.release import is_newer
from clustersession.net.agent_link import AgentGone, BlockingLink, ask_once
from clustersession.replica.home import NodeHome
from clustersession.replica.private_directory import private_opener
from clustersession.settings.settings import Settings
from clustersession.wire.local import Operation

START_TIMEOUT_S = 10.0
"""How long an interpreter may take until it has read its settings and detached."""
SPAWN_INTERVAL_S = 2.0
"""After this another agent is spawned; one that found its predecessor there has gone at once."""
UP_TIMEOUT_S = 5.0
"""How long an agent may take to come up or to leave, whatever is spawned meanwhile."""
SIBLING_S = 1.0
"""How long a sibling's attempt to start the agent is waited for."""
YIELD_S = 3.0
"""How long siblings of an older version have to start theirs, when ours lately failed."""
REPLACE_INTERVAL_S = 60.0
LOOK_INTERVAL_S = 0.02
COMPLAIN_INTERVAL_S = 60.0

logger = logging.getLogger("clustersession")


def start_agent(settings: Settings, home: NodeHome) -> bool:
    """Start the agent unless a sibling is doing so, and wait until it is up.

    Returns whether it is; a sibling's attempt is waited for in the same way. Never raises.
    """
    try:
        with _launch_lock(home) as lock:
            yields = lock is not None and _failed_lately(lock)
        if yields and _comes_up(home, YIELD_S):
            # An agent of our version has just failed; siblings of the older one have theirs.
            return True
        with _launch_lock(home) as lock:
            if lock is None:
                return _comes_up(home, SIBLING_S)
            return _is_up(home) or _bring_up(settings, home)
    except (OSError, subprocess.SubprocessError) as error:
        logger.error("the clustersession agent cannot be started: %s", error)
        return False


def replace_agent(settings: Settings, home: NodeHome) -> None:
    """Put an agent of our version and store in the place of another one.

    All of it happens under the launch lock, so that siblings of the older version, whose agent it
    was, cannot start theirs again in between: they attach to the new one. When ours does not come
    up, they may; then workers of our version leave theirs alone for ``REPLACE_INTERVAL_S``. Never
    raises.
    """
    try:
        with _launch_lock(home) as lock:
            if lock is None or _failed_lately(lock):
                return
            status = _status_at(home)
            there = version_in(status)
            if there is None:
                return
            if is_newer(__version__, there):
                logger.info(
                    "the clustersession agent is of version %s and leaves for one of version %s",
                    there or "unknown", __version__,
                )
            elif not has_other_settings(status, settings):
                return
            with suppress(AgentGone, TimeoutError, WireError):
                ask_once(home.agent_socket, Operation.STOP)
            _wait(lambda: not _is_up(home), UP_TIMEOUT_S)
            came = _bring_up(settings, home)
            os.ftruncate(lock, 0)
            if not came:
                os.pwrite(lock, __version__.encode(), 0)
    except (OSError, subprocess.SubprocessError) as error:
        logger.error("the clustersession agent cannot be replaced: %s", error)


def miss_external(home: NodeHome) -> None:
    """Log that the agent that somebody else is to run is not there."""
    _complain(
        home,
        f"clustersession: no agent answers at {home.agent_socket}; agent is 'external', so whoever "
        "runs `clustersession agent` has to start it, as the same user and with the same secret, "
        "cluster_name, route and state_dir as this application",
    )


def version_in(status: object) -> str | None:
    """Return the version that an agent says it is of; empty from one that does not say."""
    return str(status.get("version", "")) if isinstance(status, dict) else None


def has_other_store(status: object, settings: Settings) -> bool:
    """Tell whether an agent was started with another store, or with none where there is one."""
    return isinstance(status, dict) and status.get("store_mark", "") not in settings.store_marks


def has_other_settings(status: object, settings: Settings) -> bool:
    """Tell whether an agent has another store, or other secrets and may not read all in it."""
    mark = status.get("store_secrets_mark", "") if isinstance(status, dict) else ""
    return has_other_store(status, settings) or mark != settings.store_secrets_mark


def _status_at(home: NodeHome) -> object:
    """Return the status of the agent that is there, None when there is none."""
    try:
        return ask_once(home.agent_socket, Operation.STATUS)
    except (AgentGone, TimeoutError, WireError):
        return None


@contextmanager
def _launch_lock(home: NodeHome) -> Iterator[int | None]:
    """Hold the lock for the block and give its descriptor; None when a sibling holds it."""
    path = home.directory / "agent.launch"
    lock = private_opener(path, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
        else:
            yield lock
    finally:
        os.close(lock)


def _failed_lately(lock: int) -> bool:
    """Tell whether an agent of ours lately did not come up in the place of an older one."""
    if os.pread(lock, 64, 0) != __version__.encode():
        return False
    return abs(time.time() - os.fstat(lock).st_mtime) < REPLACE_INTERVAL_S


def _bring_up(settings: Settings, home: NodeHome) -> bool:
    give_up_s = time.monotonic() + UP_TIMEOUT_S
    while time.monotonic() < give_up_s:
        _spawn(settings, home)
        if _comes_up(home, SPAWN_INTERVAL_S):
            return True
    _complain(home, f"the clustersession agent did not come up: {_last_trouble(home)}")
    return False


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
    """Find the Python to run: under uWSGI ``sys.executable`` is the server itself."""
    executable = sys.executable or ""
    if "python" in os.path.basename(executable).lower():
        return executable
    for name in (f"python{sys.version_info[0]}.{sys.version_info[1]}", "python3"):
        candidate = Path(sysconfig.get_path("scripts")) / name
        if candidate.exists():
            return str(candidate)
    return "python3"


def _is_up(home: NodeHome) -> bool:
    try:
        BlockingLink(home.agent_socket).close()
    except AgentGone:
        return False
    return True


def _comes_up(home: NodeHome, timeout_s: float) -> bool:
    return _wait(lambda: _is_up(home), timeout_s)


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(LOOK_INTERVAL_S)
    return True


_complained_s: dict[Path, float] = {}
"""When it was last logged, by the node's directory, that no agent comes up."""


def _complain(home: NodeHome, text: str) -> None:
    """Log, but not at every attempt."""
    now_s = time.monotonic()
    if now_s - _complained_s.get(home.directory, float("-inf")) > COMPLAIN_INTERVAL_S:
        _complained_s[home.directory] = now_s
        logger.error("%s", text)


def _last_trouble(home: NodeHome) -> str:
    """Return the trouble that the agent logged last, which says why it is not there."""
    try:
        lines = home.agent_log.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    troubles = [line for line in lines[-20:] if " ERROR " in line or " WARNING " in line]
    return f"{troubles[-1] if troubles else 'it logged nothing'} (see {home.agent_log})"
