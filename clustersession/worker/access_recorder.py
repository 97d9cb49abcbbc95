"""Has accesses recorded for open requests, from a thread of its own.

The thread starts with the first request of a process. A child of a fork has managers of its own,
and so its own thread.
"""

import atexit
import logging
import os
import threading
from weakref import ref

from clustersession.core.errors import ReplicaError
from clustersession.session.manager import SessionManager

_log = logging.getLogger("clustersession")

STOP_TIMEOUT_S = 2.0


class AccessRecorder:
    """Calls ``record_accesses`` of one manager again and again, from its first request on.

    It does not keep the manager: when nobody else does, the thread ends.
    """

    def __init__(self, manager: SessionManager) -> None:
        self._manager = ref(manager)
        self._interval_s = manager.open_visits.look_interval_s
        self._pid = os.getpid()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._warned = False
        manager.open_visits.on_first = self._start

    def stop(self) -> None:
        """End the thread, and never start one again."""
        if os.getpid() != self._pid:
            return
        self._stopped.set()
        thread = self._thread
        if thread is not None:
            atexit.unregister(self.stop)
            if thread is not threading.current_thread():
                thread.join(STOP_TIMEOUT_S)

    def _start(self) -> None:
        thread = threading.Thread(
            target=self._run, name="clustersession-open-requests", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            # Too many threads, or an interpreter inside a process that may have none: the request
            # goes on, and the next one tries again.
            if not self._warned:
                self._warned = True
                _log.warning(
                    "a request that takes longer than the idle timeout loses its session: accesses "
                    "cannot be recorded meanwhile (%s)", error,
                )
            if (manager := self._manager()) is not None:
                manager.open_visits.on_first = self._start
            return
        self._thread = thread
        # The interpreter must not take the replica apart under a commit.
        atexit.register(self.stop)

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            manager = self._manager()
            if manager is None:
                return
            try:
                manager.open_visits.record_accesses()
            except ReplicaError as error:
                _log.debug("accesses of open requests are not recorded: %s", error)
            except Exception:
                # The thread is all that keeps the sessions of open requests.
                _log.exception("accesses of open requests could not be recorded")
            del manager
