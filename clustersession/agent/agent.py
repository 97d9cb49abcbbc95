"""Puts the parts of a node's agent together, and decides when it leaves."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clustersession.agent.driver import Driver, moment
from clustersession.agent.file_keeper import FileKeeper
from clustersession.agent.metrics import require_client
from clustersession.agent.status import status_of
from clustersession.agent.sweeper import Sweeper
from clustersession.agent.worker_server import WorkerServer
from clustersession.core.errors import ReplicaError
from clustersession.core.state import SessionState
from clustersession.net.unix import listen_unix
from clustersession.replica.home import NodeHome
from clustersession.replica.journal.segments import remove_unwanted
from clustersession.replica.replica import Replica
from clustersession.replica.results import Stored
from clustersession.settings.settings import Settings

if TYPE_CHECKING:
    from clustersession.agent.http_endpoint import Endpoint


class Agent:
    """Is the node's member of the cluster, the only one: the caller holds the agent's lock.

    ``settings`` are complete: route, bind address and secret are worked out. With ``lingers`` the
    agent stops ``agent_linger_s`` after the last worker that has its store has gone, or when none
    comes.
    """

    def __init__(
        self, settings: Settings, home: NodeHome, replica: Replica, *, lingers: bool
    ) -> None:
        self.settings = settings
        self.home = home
        self.replica = replica
        # The parts, which live as long as the agent: what runs the node, what answers workers, and
        # what removes expired sessions.
        self.driver = Driver(settings, replica, home)
        self.workers = WorkerServer(
            self.driver, status=self.status, on_stop=self.stop, on_workers=self._on_workers
        )
        self.sweeper = Sweeper(
            replica, self.driver.event_log, self._on_swept, self._on_reclaimed, self._on_turn,
            spread=bool(settings.store),
        )
        self._lingers = lingers
        # Runs out ``agent_linger_s`` after the last worker that has our store has gone; None while
        # one is there.
        self._linger: asyncio.TimerHandle | None = None
        # Set by ``stop``; there is none before ``run``, which must not begin when the stop came
        # first.
        self._stopping: asyncio.Event | None = None
        self._stop_wanted = False

    async def run(self) -> None:
        """Stay a member of the cluster until ``stop``.

        Raises OSError when no port of the range is free, and ConfigurationError.
        """
        self._stopping = asyncio.Event()
        if self._stop_wanted:
            return
        if self.settings.effective_durability == "none":
            remove_unwanted(self.home.journal)
        # Loaded here, because later it would hold up heartbeats.
        endpoint = self._endpoint()
        await self.driver.start()
        self.driver.event_log.forward = self.workers.forward
        await self._listen()
        self._on_workers(0, 0)
        indexing = asyncio.get_running_loop().create_task(self._index())
        sweeper = asyncio.get_running_loop().create_task(self.sweeper.run())
        keeper = FileKeeper(self.home, self.driver.event_log, self._listen)
        keeping = asyncio.get_running_loop().create_task(keeper.run())
        serving = asyncio.get_running_loop().create_task(endpoint.run()) if endpoint else None
        try:
            await self._stopping.wait()
        finally:
            sweeper.cancel()
            keeping.cancel()
            if serving is not None:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
            if self._linger is not None:
                self._linger.cancel()
            self.home.agent_socket.unlink(missing_ok=True)
            self.workers.close()
            await self.driver.stop()
            await asyncio.gather(indexing, sweeper, keeping, return_exceptions=True)

    async def _listen(self) -> None:
        await self.workers.start(listen_unix(self.home.agent_socket))

    def _endpoint(self) -> "Endpoint | None":
        settings = self.settings
        if not settings.metrics_port:
            return None
        require_client()
        from clustersession.agent.http_endpoint import Endpoint

        return Endpoint(
            settings.metrics_bind, settings.metrics_port, self.driver.event_log,
            ask=self.workers.work.ask, status=self.status,
            phase=lambda: self.driver.engine.context.phase, hosts=settings.metrics_hosts,
        )

    def stop(self) -> None:
        """Leave the cluster and return from ``run``; to be called in the agent's event loop."""
        self._stop_wanted = True
        if self._stopping is not None:
            self._stopping.set()

    def status(self) -> dict[str, Any]:
        """Return everything the status command shows, in plain values."""
        return status_of(self.settings, self.home, self.driver, self.workers, self.sweeper)

    def _on_workers(self, count: int, staying: int) -> None:
        at = moment()
        self.driver.engine.workers_changed(count, staying, at)
        self.driver.pump(at)
        if not self._lingers:
            return
        # Those with another store do not keep us; but one of them may be the first to come, and
        # ours may be about to, as after a restart of the server.
        needed = count > len(self.workers.waiting_pids)
        if needed and self._linger is not None:
            self._linger.cancel()
            self._linger = None
        elif not needed and self._linger is None:
            loop = asyncio.get_running_loop()
            self._linger = loop.call_later(self.settings.agent_linger_s, self._leave)

    def _leave(self) -> None:
        if self.workers.waiting_pids:
            self.driver.event_log.seldom(
                "info", "store_changed",
                "the last process with this agent's setting store has gone: the agent leaves, and "
                "the others start one with theirs",
            )
        self.stop()

    async def _index(self) -> None:
        """Complete the index of principals: an agent of an older version may have written here."""
        try:
            await asyncio.to_thread(self.replica.index_principals)
        except ReplicaError as error:
            text = f"the index of users' sessions is not complete: {error}"
            self.driver.event_log.seldom("error", "index_failed", text)

    def _on_swept(self, removed: Sequence[tuple[str, SessionState]]) -> None:
        self.workers.watchers.expired(removed, self._serving(), self.settings.route)

    def _on_reclaimed(self, stored: Sequence[Stored]) -> None:
        route, spread = self.settings.route, bool(self.settings.store)
        self.workers.watchers.reclaimed(stored, self._serving(), route, spread=spread)
        if spread:
            self.driver.feed_moved()

    def _serving(self) -> frozenset[str]:
        view = self.driver.life.view.written
        return frozenset() if view is None else view.serving

    def _on_turn(self) -> None:
        self.workers.work.ask()
        # Whatever kept the serving view from being written may be over.
        self.driver.engine.context.view_is_stale = True
        self.driver.pump(moment())
