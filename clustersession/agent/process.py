"""Runs the agent as a process of its own: single by file lock, in the foreground or detached.

A worker starts it as a fresh interpreter that reads its settings from standard input (secrets
belong neither into arguments nor into the environment of others), detaches itself and lets go of
the worker.
"""

import asyncio
import fcntl
import gc
import logging
import logging.handlers
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from clustersession import __version__
from clustersession.agent.agent import Agent
from clustersession.agent.file_keeper import write_pid
from clustersession.agent.log_lines import log_formatter
from clustersession.agent.start import decode_start, unknown_settings
from clustersession.core.errors import ConfigurationError
from clustersession.replica.home import NodeHome, open_node_replica
from clustersession.settings.settings import Settings

LOG_BYTES_MAX = 1 * 2**20
LOCK_LOOK_S = 0.01
GARBAGE_OBJECTS = 20_000
# An agent that leaves waits this long for its peers, and as long again for their links.
SUCCESSOR_WAIT_S = 5.0

logger = logging.getLogger("clustersession.agent")


@contextmanager
def agent_lock(home: NodeHome, *, wait_s: float = 0.0) -> Iterator[bool]:
    """Hold the agent's lock for the block; False when another process holds it.

    It is one on the node's directory, which nobody can take away as long as something is in it; a
    file may be removed, and the next agent would lock another one of the same name. ``wait_s``: how
    long to wait for one that leaves. That one has taken its socket away.
    """
    descriptor = os.open(home.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        give_up_s = time.monotonic() + wait_s
        while not _try_lock(descriptor):
            if time.monotonic() >= give_up_s or home.agent_socket.exists():
                yield False
                return
            time.sleep(LOCK_LOOK_S)
        # The number is for people; the disk may be full.
        with suppress(OSError):
            write_pid(home)
        yield True
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def run_agent(settings: Settings, home: NodeHome, *, lingers: bool) -> int:
    """Run as the node's agent until told to stop; return the exit status.

    0: stopped in good order, or another agent is there already and ``lingers``. 1: another agent is
    there. SIGTERM and SIGINT leave the cluster first.
    """
    home.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with agent_lock(home, wait_s=SUCCESSOR_WAIT_S if lingers else 0.0) as held:
        if not held:
            logger.info("another agent serves %s", home.directory, extra={"event": "second_agent"})
            return 0 if lingers else 1
        replica = open_node_replica(home, settings)
        try:
            agent = Agent(settings, home, replica, lingers=lingers)
            logger.info(
                "agent %d of %s starts in cluster %s, version %s",
                os.getpid(), settings.route, settings.cluster_name, __version__,
                extra={"event": "agent_started"},
            )
            _run_loop(agent)
            logger.info(
                "agent %d of %s has left", os.getpid(), settings.route,
                extra={"event": "agent_left"},
            )
            return 0
        except (OSError, ConfigurationError) as error:
            logger.error("the agent cannot start: %s", error, extra={"event": "agent_failed"})
            return 1
        finally:
            replica.mark_clean()


def _collect_seldom(loop: asyncio.AbstractEventLoop) -> None:
    # Batches and pages are thousands of objects without a cycle, which reference counts free; to
    # look through them again and again takes a tenth of the time that applying them does. The loop
    # of the standard library leaves each refused TLS connection in a cycle, a hundred kilobytes.
    if isinstance(loop, asyncio.BaseEventLoop):
        return
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS, 20, 50)


def _run_loop(agent: Agent) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        _collect_seldom(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, agent.stop)
        await agent.run()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop: uvloop's where installed, which halves the time of a confirmation."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def main_detached() -> int:
    """Run an agent that a worker has started."""
    start = sys.stdin.buffer.read()
    settings, home = decode_start(start)
    if os.fork():
        # The worker waits for this process and is not left with a child it knows nothing about.
        os._exit(0)
    os.setsid()
    os.umask(0o077)
    with suppress(OSError):
        os.chdir("/")
    # The handler opens it by its name; a link there is not ours.
    if home.agent_log.is_symlink():
        home.agent_log.unlink()
    handler = logging.handlers.RotatingFileHandler(
        home.agent_log, maxBytes=LOG_BYTES_MAX, backupCount=1
    )
    handler.setFormatter(log_formatter(settings.log_format))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    if unknown := unknown_settings(start):
        logger.warning(
            "settings of another version are left out: %s", ", ".join(unknown),
            extra={"event": "settings_left_out"},
        )
    try:
        return run_agent(settings, home, lingers=True)
    except Exception:
        logger.exception("the agent died", extra={"event": "agent_failed"})
        return 1
