"""Keeps a store connected: finds it, tells its owner when it comes and goes, tries again.

What stands below knows one life of a store, ``open_store``; this one has them follow each other.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from clustersession.core.errors import StoreError, StoreErrorKind
from clustersession.net.store.inspection import StoreUsage, usage_of, warnings_about
from clustersession.net.store.open_store import OpenStore, StoreOwner, StorePlan
from clustersession.net.store.server import StoreServer
from clustersession.node.store_calls import StoreCall
from clustersession.settings.store_url import StoreAddress

logger = logging.getLogger("clustersession.net")

PAUSE_S: Final = 0.1
PAUSE_S_MAX: Final = 2.0
"""Of the pause before the next attempt, which doubles until a store has lasted as long. It is less
than ``drop_time_s``, so that nobody counts as lost who comes back later than others."""


USAGE_INTERVAL_S: Final = 10.0
"""How often servers are asked how full they are."""


class StoreClient:
    """Is the connection to a store, for as long as the node runs.

    where: the servers, Sentinels or unix socket of the setting, without login. errors: how often
    the store was lost or not to be had, by kind. dropped: how many keys we saw servers drop for
    space. drops: the last look saw some.
    _usage: how full each server was when it was last asked. _store: the store while it is there.
    _known: servers that a Cluster had lately. _reason: what the owner was last told; None while the
    store is there. _run: the task that connects.
    """

    def __init__(self, plan: StorePlan, owner: StoreOwner) -> None:
        self._plan = plan
        self._owner = owner
        self._store: OpenStore | None = None
        self._known: Sequence[StoreAddress] = ()
        self._reason: str | None = None
        self._run: asyncio.Task[None] | None = None
        self.where = plan.url.where
        self.errors: Counter[StoreErrorKind] = Counter()
        self._usage: dict[StoreAddress, StoreUsage] = {}
        self.dropped = 0
        self.drops = False

    def start(self) -> None:
        """Begin to connect."""
        self._run = asyncio.create_task(self._connect_for_ever())

    @property
    def is_up(self) -> bool:
        """Tell whether groups can be sent."""
        return self._store is not None

    @property
    def servers(self) -> list[str]:
        """Describe the servers that are connected."""
        return [] if self._store is None else [str(s) for s in self._store.servers.values()]

    @property
    def server(self) -> StoreServer | None:
        """Return the server that has everything, while it is there; None for a Cluster."""
        return None if self._store is None else self._store.single

    @property
    def usage(self) -> list[StoreUsage]:
        """Return how full the servers are that are connected, as far as we may know."""
        servers = () if self._store is None else self._store.servers
        return [self._usage[address] for address in servers if address in self._usage]

    def send(self, number: int, calls: Sequence[StoreCall]) -> None:
        """Have a group carried out; without a store it is given up, as its owner knows."""
        if self._store is not None:
            self._store.send(number, calls)

    def drop(self) -> None:
        """Break the connection, which says nothing; the next attempt follows."""
        if self._store is not None:
            self._store.fail(StoreError(
                "the store has said nothing for too long", StoreErrorKind.TIMEOUT
            ))

    async def close(self) -> None:
        """Close the connection; the owner hears nothing more."""
        if self._run is not None:
            self._run.cancel()
            await asyncio.gather(self._run, return_exceptions=True)

    async def _connect_for_ever(self) -> None:
        pause_s = PAUSE_S
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            store = OpenStore(self._plan, self._owner)
            try:
                reason = await self._live(store)
            finally:
                self._store = None
                await store.close()
            self.errors[reason.kind] += 1
            self._tell_down(str(reason))
            pause_s = PAUSE_S if loop.time() - began_s > PAUSE_S_MAX else pause_s
            # Not all hosts at once, when a server comes back that all of them had lost.
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    async def _live(self, store: OpenStore) -> StoreError:
        """Return why a store was lost, or could not be had."""
        try:
            await store.open(self._known)
            warnings = await self._look(store)
        except StoreError as error:
            return error
        except Exception as error:
            logger.exception("the store could not be connected")
            return StoreError(f"the store could not be connected: {error!r}")
        if store.lost.done():
            return store.lost.result()
        self._known = tuple(store.servers)
        self._store, self._reason = store, None
        for warning in warnings:
            self._owner.store_warned(warning)
        self._owner.store_up()
        return await self._watch(store)

    async def _watch(self, store: OpenStore) -> StoreError:
        """Look now and then how full the servers are; return why the store was lost."""
        while True:
            await asyncio.wait((store.lost,), timeout=USAGE_INTERVAL_S)
            if store.lost.done():
                return store.lost.result()
            # A server that does not answer is lost soon, and that is told.
            with suppress(StoreError):
                await self._look(store)

    async def _look(self, store: OpenStore) -> list[str]:
        """Ask each server how full it is; return what people should know. Raises StoreError."""
        warnings: list[str] = []
        self.drops = False
        for address, server in [*store.servers.items()]:
            usage = await usage_of(server)
            if usage is None:
                continue
            warnings += warnings_about(address, usage)
            before = self._usage.get(address, usage).dropped
            self._usage[address] = usage
            # A server that was started anew has dropped so many since.
            new = usage.dropped - before if usage.dropped >= before else usage.dropped
            if new:
                self.dropped += new
                self.drops = True
                self._owner.store_warned(
                    f"the store at {address} is full and drops sessions: users whose host does not "
                    "hold theirs are logged out; raise its maxmemory, and set noeviction"
                )
        return warnings

    def _tell_down(self, reason: str) -> None:
        if reason != self._reason:
            self._reason = reason
            self._owner.store_down(reason)
