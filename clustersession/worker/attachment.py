"""Attaches a worker to its agent: one thread holds a connection for as long as it lives.

The agent takes the connection for the worker, so a killed worker is noticed by the kernel closing
it. The thread sleeps in a system call; when the agent goes away it wakes, starts another, and
attaches again. What the agent has to say arrives here and goes into the application's log.
"""

import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from clustersession import __version__
from clustersession.core.counters import Counters
from clustersession.core.errors import WireError
from clustersession.core.release import is_newer
from clustersession.net.agent_link import AgentGone, BlockingLink
from clustersession.replica.home import NodeHome
from clustersession.settings.settings import Settings
from clustersession.wire.local import Operation
from clustersession.worker.launch import (
    has_other_settings,
    has_other_store,
    miss_external,
    replace_agent,
    start_agent,
    version_in,
)

RETRY_S_MIN = 0.05
RETRY_S_MAX = 5.0
ATTACH_TIMEOUT_S = 5.0

logger = logging.getLogger("clustersession")


def _agent_pid_in(status: object) -> int:
    pid = status.get("agent_pid") if isinstance(status, dict) else None
    return pid if isinstance(pid, int) and pid > 1 else 0


def _reap(pid: int) -> None:
    """Ask for a dead agent, which would otherwise stay a zombie.

    As the first process of a container this one is the parent of agents, like it or not. Only the
    agent is asked for: everything else may be a child of the server or of the application.
    """
    if pid and os.getpid() == 1:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


class Attachment:
    """Keeps this process attached to an agent, starting one where that is our business.

    Attributes:
        attached: set while the agent knows of this worker.
        attachments: how often this process has attached; it only grows.
    """

    def __init__(
        self,
        settings: Settings,
        home: NodeHome,
        *,
        start: Callable[[], bool] | None = None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._home = home
        self._start = start or self._start_process
        # Called on our thread when an agent is gone to which this process was attached.
        self._lost = lost
        # Whether the agent is a thread of this process. It is of our version then.
        self._starts_in_thread = start is not None
        # The process that made this object; a child of a fork has no thread and must not close.
        self._pid = os.getpid()
        # What the agent is told: that this worker stops, never taken back; and that it has another
        # store than the agent.
        self._stopping = self._waits = False
        # The agent attached to last, 0 before the first answer to a question about its status.
        self._agent_pid = 0
        # Whose events to pass on: of all nodes or ours, and to whom. None: nobody asked.
        self._listens: tuple[bool, Callable[[list[Any]], None]] | None = None
        # The open connection. Set by the thread alone; others close it to wake the thread.
        self._link: BlockingLink | None = None
        # One for each runtime of the node, and the sums that agents were told. The lock keeps two
        # threads from telling the same.
        self._counters: list[Counters] = []
        self._told = Counter[str]()
        self._telling = threading.Lock()
        # Set by ``stop``: the thread ends instead of attaching again.
        self._stopped = threading.Event()
        self.attached = threading.Event()
        self.attachments = 0
        _require_threads()
        self._thread = threading.Thread(
            target=self._run, name="clustersession-attachment", daemon=True
        )
        self._thread.start()

    def listen(self, everywhere: bool, heard: Callable[[list[Any]], None]) -> bool:
        """Have events about sessions passed to ``heard``, on this thread, from each agent to come.

        Whether it is for the caller to tell the present agent.
        """
        self._listens = (everywhere, heard)
        return self.attached.is_set()

    def count(self, counters: Counters) -> None:
        """Tell the agents what is counted there, whenever one asks."""
        self._counters.append(counters)

    def stop(self) -> None:
        """Detach; the agent goes some seconds after its last worker."""
        self._stopped.set()
        link = self._link
        if link is not None and os.getpid() == self._pid:
            with suppress(AgentGone):
                self._tell_counts(link)
            link.close()
            self._thread.join(timeout=2.0)

    def tell_stopping(self) -> None:
        """Attach again as a worker that was told to stop, and so to every later agent."""
        self._stopping = True
        link = self._link
        if link is not None:
            link.close()

    def _run(self) -> None:
        """Attach, again and again, until stopped."""
        retry_s = RETRY_S_MIN
        while not self._stopped.is_set():
            attachments = self.attachments
            try:
                self._attach_and_listen()
            except (AgentGone, TimeoutError, WireError, OSError):
                pass
            finally:
                self.attached.clear()
                if self._link is not None:
                    self._link.close()
                    self._link = None
            if self._stopped.is_set():
                return
            gone = self._agent_pid
            if self.attachments > attachments:
                self._lost()
                retry_s = RETRY_S_MIN
            started = self._start_safely()
            # It may be on its way: a service that restarts takes a moment.
            if self._settings.agent == "external" and retry_s == RETRY_S_MAX:
                miss_external(self._home)
            _reap(gone)
            # After a working attachment the next agent is wanted at once; otherwise something is
            # wrong, or not ready, and a short pause keeps the trouble small.
            if not started or retry_s > RETRY_S_MIN:
                self._stopped.wait(retry_s)
            retry_s = min(2 * retry_s, RETRY_S_MAX)

    def _attach_and_listen(self) -> None:
        """Attach, then listen until the connection ends. Raises what a link raises."""
        self._link = link = BlockingLink(self._home.agent_socket)
        if self._is_outdated(link):
            # If it goes, so does this link, and attaching leads to the new one.
            replace_agent(self._settings, self._home)
        said = (self._stopping, self._waits)
        link.ask(Operation.ATTACH, self._pid, *said, timeout_s=ATTACH_TIMEOUT_S)
        self.attachments += 1
        if self._listens is not None:
            link.tell(Operation.LISTEN, self._listens[0], self._pid)
        self.attached.set()
        self._listen(link)

    def _start_safely(self) -> bool:
        try:
            return self._start()
        except Exception:
            # The thread is all that ever starts an agent: it must outlive any trouble.
            logger.exception("the clustersession agent could not be started")
            return False

    def _listen(self, link: BlockingLink) -> None:
        while True:
            for event in link.listen():
                if isinstance(event, list) and len(event) >= 5 and self._listens is not None:
                    self._listens[1](event)
                elif event == []:
                    self._tell_counts(link)
                elif isinstance(event, list) and len(event) == 2:
                    level = logging.getLevelNamesMapping().get(str(event[0]).upper(), logging.INFO)
                    logger.log(level, "clustersession: %s", event[1])

    def _tell_counts(self, link: BlockingLink) -> None:
        """Tell what came since the last time: so nothing is counted twice, by whatever agent."""
        news: dict[str, int] = {}
        with self._telling:
            counts = Counter[str]()
            for counters in list(self._counters):
                counts.update(counters.told())
            for name, count in counts.items():
                if more := count - self._told[name]:
                    news[name] = more
            self._told = counts
            if news:
                link.tell(Operation.REPORT, news)

    def _start_process(self) -> bool:
        if self._settings.agent == "external":
            return False
        return start_agent(self._settings, self._home)

    def _is_outdated(self, link: BlockingLink) -> bool:
        """Tell whether the agent is older, or left with another store, and ours to replace."""
        self._waits = False
        if self._starts_in_thread:
            return False
        status = link.ask(Operation.STATUS, timeout_s=ATTACH_TIMEOUT_S)
        self._agent_pid = _agent_pid_in(status)
        there = version_in(status)
        if there is None:
            return False
        if not is_newer(__version__, there):
            return self._is_left_with_others(status)
        if self._settings.agent == "external":
            logger.warning(
                "clustersession: the agent is of version %s and this worker of %s; restart the "
                "agent", there or "unknown", __version__,
            )
            return False
        return True

    def _is_left_with_others(self, status: object) -> bool:
        """Tell whether an agent with another store, or with other secrets for it, serves nobody.

        Complain of another store when it does serve somebody.
        """
        workers = status.get("workers") if isinstance(status, dict) else None
        if self._settings.agent != "external" and workers == []:
            return has_other_settings(status, self._settings)
        self._waits = has_other_store(status, self._settings)
        if not self._waits:
            return False
        logger.warning(
            "clustersession: the agent was started with another store than this process has, and "
            "goes on with it; %s",
            "restart the agent" if self._settings.agent == "external" else
            f"it leaves when the processes that had it have gone: {workers}",
        )
        return False


def _require_threads() -> None:
    """Warn where threads run only while a request does: under older uWSGI unless told."""
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is not None and not getattr(uwsgi, "has_threads", True):
        logger.warning(
            "clustersession: uWSGI runs without threads, so an agent that dies is replaced only at "
            "the next request; start uWSGI with --enable-threads"
        )
