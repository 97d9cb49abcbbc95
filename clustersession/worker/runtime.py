"""What an adapter holds: settings now, and one open session manager per process, later.

Nothing is opened before a request is served or a server announces its start. The process id is
compared at each use: objects made before a fork, in the master of a preloading server, are left
alone and never used in a child.
"""

import hashlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clustersession.core.errors import ConfigurationError, ReplicaError
from clustersession.replica.home import NodeHome, open_node_replica
from clustersession.replica.replica import Replica
from clustersession.session.events import Callback, Events
from clustersession.session.manager import SessionManager
from clustersession.session.token import IdSigner
from clustersession.session.users import ClusterSessions
from clustersession.settings.settings import Settings
from clustersession.settings.sources import load_settings
from clustersession.worker.agent_events import AgentEvents
from clustersession.worker.connection import Connection, complete, connect
from clustersession.worker.drain_on_stop import DrainOnStop, forget, watch
from clustersession.worker.places import derive_secret, id_secrets, node_home

_log = logging.getLogger("clustersession")

SECRET_NOTE = "secret"
AGENT_WAIT_S = 3.0
STARLETTE_NAMES = {
    "session_cookie": "cookie_name",
    "max_age": "cookie_max_age_s",
    "path": "cookie_path",
    "same_site": "cookie_samesite",
    "https_only": "cookie_secure",
    "domain": "cookie_domain",
    "partitioned": "cookie_partitioned",
}

STARSESSIONS_NAMES = {"cookie_same_site": "cookie_samesite", "cookie_https_only": "cookie_secure"}
STARSESSIONS_REFUSED = {
    "store": "sessions live in this process's node; distributable=True shares them between hosts",
    "lifetime": "use cookie_max_age_s for the cookie, idle_timeout_s and absolute_timeout_s for "
    "the session",
    "rolling": "idle_timeout_s always rolls and absolute_timeout_s never does",
    "serializer": "values are stored with their types; clustersession.register adds types",
}
"""What starsessions calls by another name, and what it has that means something else here."""


class _Opened:
    """One node in this process: an LMDB environment must not be opened twice by one process."""

    def __init__(self, settings: Settings, home: NodeHome) -> None:
        self.replica = open_node_replica(home, settings)
        _compare_secret(settings, self.replica)
        self.connection = connect(settings, home, self.replica)
        self.listening = AgentEvents(self.connection.agent_client, settings.events == "everywhere")
        self.users = 0

    def close(self) -> None:
        self.connection.close()
        # The last process out of a host that is going down leaves its sessions trusted.
        self.replica.mark_clean()


class _ProcessWide:
    """Environments open in one process. A child of a fork has one of its own, lock included."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.opened: dict[Path, _Opened] = {}


# By process id. What a parent process has made stays referenced, so that no destructor runs in
# the child.
_by_pid: dict[int, _ProcessWide] = {}
_of_parents: list[object] = []


def _this_process() -> _ProcessWide:
    # The first requests after a fork come on several threads, and no lock of the parent may be
    # trusted to be free; ``setdefault`` lets one of them win.
    pid = os.getpid()
    return _by_pid.get(pid) or _by_pid.setdefault(pid, _ProcessWide())


class _Process:
    """What one process has opened for one runtime."""

    def __init__(self, path: Path, manager: SessionManager) -> None:
        self.pid = os.getpid()
        self.path = path
        self.manager = manager
        self.drain_on_stop: DrainOnStop | None = None


class Runtime:
    """Settings and, per process, the manager that serves with them. Constructing opens nothing.

    permanent_lifetime_s, sliding: see SessionManager. listeners: the application's callbacks.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        permanent_lifetime_s: float = 0.0,
        sliding: bool = True,
        listeners: Events | None = None,
    ) -> None:
        self.settings = settings
        self._permanent_lifetime_s = permanent_lifetime_s
        self._sliding = sliding
        self._process: _Process | None = None
        self.events = Events() if listeners is None else listeners

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "Runtime":
        """A runtime for a middleware's keyword arguments; Starlette's names are understood too.

        ``listeners``, an ``Events``, has the application's callbacks. Raises ConfigurationError.
        """
        given = dict(options)
        listeners = given.pop("listeners", None)
        return cls(load_settings(**_our_names(given)), listeners=listeners)

    def manager(self) -> SessionManager:
        """This process's manager, opened at the first call.

        Raises ReplicaUnusable or ConfigurationError when the node cannot work here at all.
        """
        process = self._process
        if process is not None and process.pid == os.getpid():
            return process.manager
        return self._open().manager

    def start(self) -> None:
        """Open now, so that a node joins when its server starts and not at the first request.

        Waits for the agent, but not for ever: what is served before it is there is on this node
        only, and sessions of other nodes are unknown.
        """
        self.connection().wait_for_agent(AGENT_WAIT_S)

    def connection(self) -> Connection:
        """This process's connection to its node, opened at the first call, as by ``manager``."""
        self.manager()
        assert self._process is not None
        return _this_process().opened[self._process.path].connection

    def on(self, kind: str, callback: Callback | None = None) -> Any:
        """Have a callback called for events of a kind; also a decorator. See ``session.events``.

        Opens nothing; to be called when the application is made. Raises ValueError.
        """
        return self.events.on(kind, callback)

    def sessions(self) -> ClusterSessions:
        """Users' sessions across the cluster: to list and to end them."""
        return self.manager().sessions()

    def close(self) -> None:
        """Let go of what this process opened; the next use opens it again."""
        shared = _this_process()
        with shared.lock:
            process, self._process = self._process, None
            if process is None or process.pid != os.getpid():
                return
            if process.drain_on_stop is not None:
                forget(process.drain_on_stop)
            opened = shared.opened.get(process.path)
            if opened is None:
                return
            opened.users -= 1
            if opened.users == 0:
                del shared.opened[process.path]
                opened.close()

    def _open(self) -> _Process:
        shared = _this_process()
        with shared.lock:
            process = self._process
            if process is not None and process.pid == os.getpid():
                return process
            if process is not None:
                _of_parents.append(process)
            settings = complete(self.settings)
            home = node_home(settings)
            signer = IdSigner(id_secrets(settings))
            opened = shared.opened.get(home.replica)
            if opened is None:
                opened = shared.opened[home.replica] = _Opened(settings, home)
            manager = SessionManager(
                settings, opened.replica, signer, opened.connection.port,
                wall_ms=_wall_ms, random_bytes=secrets.token_bytes,
                permanent_lifetime_s=self._permanent_lifetime_s, sliding=self._sliding,
                events=self.events,
            )
            opened.connection.count(manager.counters)
            opened.listening.add(self.events)
            opened.users += 1
            self._process = process = _Process(home.replica, manager)
            port = opened.connection.agent_client
            if settings.drain_on_stop_s and port is not None:
                process.drain_on_stop = DrainOnStop(
                    settings.drain_on_stop_s, port, opened.replica, manager.counters
                )
                watch(process.drain_on_stop)
            return process


def _compare_secret(settings: Settings, replica: Replica) -> None:
    """Say so when workers of one node hold different secrets: they refuse each other's ids."""
    digest = hashlib.sha256(b"clustersession secret of a node\x00" + settings.secret[0].encode())
    own, known = digest.digest()[:8], None
    try:
        known = replica.load_note(SECRET_NOTE)
        if known != own:
            replica.save_note(SECRET_NOTE, own)
    except ReplicaError:
        return
    if known is not None and known != own:
        _log.warning(
            "clustersession: the secret of node %s is not the one its workers had before; unless "
            "it was just replaced, give all of them the same, or they end each other's sessions",
            settings.route,
        )


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _our_names(options: Mapping[str, Any]) -> dict[str, Any]:
    refused = [f"{n}: {why}" for n, why in STARSESSIONS_REFUSED.items() if n in options]
    if refused:
        raise ConfigurationError("\n".join(refused))
    names = {**STARLETTE_NAMES, **STARSESSIONS_NAMES}
    ours = {names.get(name, name): value for name, value in options.items()}
    if "secret_key" in ours:
        framework_key = ours.pop("secret_key")
        ours.setdefault("secret", derive_secret(str(framework_key)))
    if ours.get("cookie_max_age_s", 0) is None:
        ours["cookie_max_age_s"] = 0
    if ours.get("cookie_domain", "") is None:
        ours["cookie_domain"] = ""
    return ours


__all__ = ["STARLETTE_NAMES", "Runtime"]
