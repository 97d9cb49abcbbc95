"""Holds, for an adapter, settings now and one open session manager per process later.

Nothing is opened before a request is served or a server announces its start. The process id is
compared at each use: objects made before a fork, in the master of a preloading server, are left
alone and never used in a child.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakSet

from clustersession.core.errors import ConfigurationError
from clustersession.net.async_library import in_trio
from clustersession.replica.private_directory import HeldDirectory
from clustersession.session.events import Callback, Events
from clustersession.session.manager import SessionManager
from clustersession.session.token import id_signer
from clustersession.session.users import ClusterSessions
from clustersession.settings.framework import our_names
from clustersession.settings.settings import Settings
from clustersession.settings.sources import load_with_implied
from clustersession.worker.access_recorder import AccessRecorder
from clustersession.worker.agent_client import READY, AgentClient
from clustersession.worker.completion import complete
from clustersession.worker.contact import AGENT_WAIT_S
from clustersession.worker.drain_on_stop import DrainOnStop, drain_at_sigterm, forget_drain
from clustersession.worker.open_nodes import OpenNode, open_nodes
from clustersession.worker.places import node_home
from clustersession.worker.settings_in_use import hold_settings
from clustersession.worker.tracing import trace_of

_opened: "WeakSet[Runtime]" = WeakSet()
"""Those of which this process, or its parent, has something open; read by ``opened_runtimes``."""

_of_parents: list[object] = []
"""What a parent process has opened: referenced, so that no destructor runs in the child."""


class _Process:
    """Holds what one process has opened for one runtime; it stays until ``close``.

    pid: the process that opened it; in a child of a fork all of it is void. path: the node's place
    in the table of open nodes. held_settings: shows its settings to the node's other processes.
    drain_on_stop: what runs at SIGTERM; None where nothing shall.
    """

    def __init__(
        self, path: Path, node: OpenNode, manager: SessionManager,
        held_settings: HeldDirectory | None,
    ) -> None:
        self.pid = os.getpid()
        self.held_settings = held_settings
        self.path = path
        self.node = node
        self.manager = manager
        self.access_recorder = AccessRecorder(manager)
        self.drain_on_stop: DrainOnStop | None = None


class Runtime:
    """Holds settings and, per process, the manager that serves with them. Making it opens nothing.

    settings: as configured; ``complete`` works out the rest when the node is opened.
    permanent_lifetime_s, sliding: see SessionManager.
    events: the application's callbacks, ``listeners`` if they are given.
    implied: settings that nobody has set by our names, but that follow from the framework's own.
    ``_process`` is what was opened: None before the first use and after ``close``, and in a child
    of a fork the parent's until the first use there. ``_refused`` is why it is never opened.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        permanent_lifetime_s: float = 0.0,
        sliding: bool = True,
        listeners: Events | None = None,
        implied: frozenset[str] = frozenset(),
    ) -> None:
        self.settings = settings
        self.implied = implied
        self.events = Events() if listeners is None else listeners
        self._permanent_lifetime_s = permanent_lifetime_s
        self._sliding = sliding
        self._process: _Process | None = None
        self._refused: ConfigurationError | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "Runtime":
        """Make a runtime of a middleware's keyword arguments, some by Starlette's names.

        ``listeners``, an ``Events``, has the application's callbacks. Raises ConfigurationError.
        """
        given = dict(options)
        listeners = given.pop("listeners", None)
        ours = our_names(given)
        settings, implied = load_with_implied(ours.implied, ours.given)
        return cls(settings, listeners=listeners, implied=implied)

    @classmethod
    def refused(cls, why: ConfigurationError) -> "Runtime":
        """Make a runtime that cannot be opened: whoever starts or uses it gets the error."""
        runtime = cls(Settings())
        runtime._refused = why
        return runtime

    @property
    def is_refused(self) -> bool:
        """Tell whether ``refused`` made it: its settings say nothing then."""
        return self._refused is not None

    def manager(self) -> SessionManager:
        """Return this process's manager, opened at the first call.

        Raises ReplicaUnusable or ConfigurationError when the node cannot work here at all.
        """
        process = self._process
        if process is not None and process.pid == os.getpid():
            return process.manager
        return self._open().manager

    def agent_client(self) -> AgentClient | None:
        """Return this process's way to its agent, opened as by ``manager``; None without one."""
        return self._open().node.agent_client

    def start(self) -> None:
        """Open now, so that a node joins when its server starts and not at the first request.

        Waits for the agent, but not for ever: what is served before it is there is on this node
        only, and sessions of other nodes are unknown.
        """
        client = self.agent_client()
        if client is not None:
            client.wait_until_attached(AGENT_WAIT_S)

    def phase(self) -> str:
        """Ask the agent what this node is doing: a word, NO_AGENT when it does not answer."""
        client = self.agent_client()
        return READY if client is None else client.phase()

    async def phase_async(self) -> str:
        """Do what ``phase`` does, without blocking the event loop."""
        client = self.agent_client()
        return READY if client is None else await client.phase_async()

    def on(self, kind: str, callback: Callback | None = None) -> Any:
        """Have a callback called for events of a kind; also a decorator. See ``session.events``.

        Opens nothing; to be called when the application is made. Raises ValueError.
        """
        return self.events.on(kind, callback)

    def sessions(self) -> ClusterSessions:
        """Return users' sessions across the cluster: to list and to end them."""
        return self.manager().sessions()

    def close(self) -> None:
        """Let go of what this process opened; the next use opens it again."""
        nodes = open_nodes()
        with nodes.lock:
            process, self._process = self._process, None
            if process is None or process.pid != os.getpid():
                return
            if process.drain_on_stop is not None:
                forget_drain(process.drain_on_stop)
            process.access_recorder.stop()
            if process.held_settings is not None:
                process.held_settings.close()
            nodes.give_back(process.path)

    def has_open(self) -> bool:
        """Tell whether this process has the node open."""
        process = self._process
        return process is not None and process.pid == os.getpid()

    def _open(self) -> _Process:
        nodes = open_nodes()
        with nodes.lock:
            process = self._process
            if process is not None and process.pid == os.getpid():
                return process
            if process is not None:
                _of_parents.append(process)
            if self._refused is not None:
                # Anew, because each raise of one exception makes its traceback longer.
                raise ConfigurationError(*self._refused.args)
            settings = complete(self.settings)
            home = node_home(settings)
            signer = id_signer(settings.secret, settings.cluster_name)
            node = nodes.find_or_open(settings, home)
            manager = SessionManager(
                settings, node.replica, signer, node.cluster,
                wall_ms=node.clock.wall_ms, random_bytes=secrets.token_bytes,
                permanent_lifetime_s=self._permanent_lifetime_s, sliding=self._sliding,
                events=self.events,
                trace=trace_of(settings.route) if settings.tracing else None,
            )
            self.events.by_trio = in_trio()
            node.agent_events.add(self.events)
            node.users += 1
            self._process = process = _Process(
                home.replica, node, manager, hold_settings(settings, home)
            )
            _opened.add(self)
            if node.agent_client is not None:
                node.agent_client.attachment.count(manager.counters)
                process.drain_on_stop = _drain_on_stop(settings, node, manager)
            return process


def opened_runtimes() -> list[Runtime]:
    """Return the runtimes with which this process has a node open."""
    with open_nodes().lock:
        return [runtime for runtime in _opened if runtime.has_open()]


def _drain_on_stop(
    settings: Settings, node: OpenNode, manager: SessionManager
) -> DrainOnStop | None:
    """Have the node drained at SIGTERM, where the settings ask for it."""
    if not settings.drain_on_stop_s or node.agent_client is None:
        return None
    drain = DrainOnStop(
        settings.drain_on_stop_s, node.agent_client, node.replica, manager.counters
    )
    drain_at_sigterm(drain)
    return drain


__all__ = ["Runtime", "opened_runtimes"]
