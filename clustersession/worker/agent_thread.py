"""Runs the agent inside this process, for ``agent="thread"``: tests and tiny deployments."""

import asyncio
import atexit
import logging
import threading

from clustersession.agent.agent import Agent
from clustersession.agent.process import agent_lock, new_event_loop
from clustersession.core.errors import ReplicaError
from clustersession.replica.home import NodeHome
from clustersession.replica.replica import Replica
from clustersession.settings.settings import Settings

logger = logging.getLogger("clustersession")


class ThreadAgent:
    """Runs the agent on a daemon thread over the process's own replica."""

    def __init__(self, settings: Settings, home: NodeHome, replica: Replica) -> None:
        self._settings = settings
        self._home = home
        self._replica = replica
        # None before the first ``start``; replaced when it has died.
        self._thread: threading.Thread | None = None
        # What runs on the thread, set and cleared by it; None while no agent is up.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._agent: Agent | None = None
        # Set by ``stop`` and never taken back: no thread starts any more.
        self._stop_wanted = False
        atexit.register(self.stop)

    def start(self) -> bool:
        """Start the thread if it does not run. Always False: it is not up yet."""
        if not self._stop_wanted and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(
                target=self._run, name="clustersession-agent", daemon=True
            )
            self._thread.start()
        return False

    def stop(self) -> None:
        """Leave the cluster; waits for the goodbye."""
        atexit.unregister(self.stop)
        # Before anything is looked at: a thread that is only starting looks at this afterwards.
        self._stop_wanted = True
        loop, agent, thread = self._loop, self._agent, self._thread
        if thread is None or not thread.is_alive():
            return
        if loop is not None and agent is not None:
            try:
                loop.call_soon_threadsafe(agent.stop)
            except RuntimeError:
                return
        thread.join(timeout=5.0)

    def _run(self) -> None:
        with agent_lock(self._home) as held:
            if not held:
                return
            try:
                with asyncio.Runner(loop_factory=new_event_loop) as runner:
                    self._loop = runner.get_loop()
                    self._agent = Agent(
                        self._settings, self._home, self._replica, lingers=False
                    )
                    if not self._stop_wanted:
                        runner.run(self._agent.run())
            except (OSError, ReplicaError) as error:
                logger.error("the clustersession agent cannot start: %s", error)
            finally:
                self._loop = self._agent = None
