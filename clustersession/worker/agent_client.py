"""Reaches the cluster, for a worker of a distributable node, through its agent."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from clustersession.core.errors import WireError
from clustersession.core.identity import Phase
from clustersession.core.revocation import principal_tag
from clustersession.net.agent_link import AgentGone, AsyncLink, LinkPool, LoopLinks
from clustersession.net.async_library import in_thread, in_trio, pause
from clustersession.replica.home import NodeHome
from clustersession.replica.replica import Replica
from clustersession.replica.results import Stored
from clustersession.session.cluster_port import NOTHING_MORE, Subscription
from clustersession.settings.settings import Settings
from clustersession.wire.fields import VERSIONS
from clustersession.wire.local import AHEAD_KEYS_MAX, Operation
from clustersession.worker.attachment import Attachment
from clustersession.worker.circuit_breaker import CircuitBreaker
from clustersession.worker.contact import AgentContact
from clustersession.worker.direct_peers import DirectPeersReader
from clustersession.worker.direct_to_peers import DirectToPeers
from clustersession.worker.direct_way import DirectWay, plain_write
from clustersession.worker.serving_routes import ServingRoutes

RECONNECT_S = 0.02
GRACE_S = 0.05
FEED_MOVED_INTERVAL_S = 0.001
"""How long one word that the feed has moved stands for all commits of an event loop."""
SUBSCRIBE_TIMEOUT_S = 1.0
PHASE_TIMEOUT_S = 1.0
GRANT_TIMEOUT_S = 0.05

READY = Phase.READY.name.lower()
DRAINING = Phase.DRAINING.name.lower()
NO_AGENT = "no agent"
"""What ``phase`` says of an agent that does not answer."""

logger = logging.getLogger("clustersession")


class AgentClient:
    """Implements ``session.cluster_port.ClusterPort`` over the agent's unix socket.

    attachment: keeps this process known to the agent, and hears what that has to say.
    ``start`` starts an agent inside this process; without it one is started as a process.
    """

    def __init__(
        self,
        settings: Settings,
        home: NodeHome,
        replica: Replica,
        *,
        start: Callable[[], bool] | None = None,
    ) -> None:
        self._settings = settings
        # Not wrapped in a method: it is asked for each request.
        self.serving_routes = ServingRoutes(settings.route, replica).get
        self._ack_timeout_s, self._by_all = settings.ack_timeout_s, settings.ack == "all"
        # Asked in their order before the agent is, see ``worker.direct_way``.
        self._direct_ways = self._ways_around(replica)
        # Questions of threads and of trio take a link of the pool each; event loops have one link
        # each, which carries any number of questions.
        self._pool = LinkPool(home.agent_socket)
        self._loop_links = LoopLinks(home.agent_socket)
        # Whether it was logged that no other node is connected; until a peer confirms.
        self._alone_logged = False
        # When the agent was told last and when it was put off (0: it was not), in monotonic
        # seconds, and the head that it will then be told.
        self._told_s = self._put_off_s = 0.0
        self._untold_head = 0
        # Whether all peers hold what was committed since the agent was told last.
        self._all_hold = True
        # Places of our feed that the store has and the agent does not know of yet, each after the
        # grant under which it was written.
        self._held: list[tuple[int, int]] = []
        # Before the attachment, whose thread begins at once.
        self.contact = AgentContact(replica, lambda: self.attachment.attached.is_set())
        self.attachment = Attachment(settings, home, start=start, lost=self.contact.lost)
        self._circuit_breaker = CircuitBreaker(lambda: self.attachment.attachments)

    def _ways_around(self, replica: Replica) -> list[DirectWay]:
        settings = self._settings
        if not settings.store:
            reader = DirectPeersReader(
                replica, lambda: self.attachment.attached.is_set(),
                all_peers=settings.ack == "all",
            )
            return [DirectToPeers(settings, reader, self._peers_hold)]
        if settings.ack == "one" and not settings.store_replicas:
            # Imported here: only a worker of a node with a store has a use for what that needs.
            from clustersession.worker.store_way import StoreWay

            return [StoreWay(settings, self._ask_grant, self._ask_grant_async, self._tell_held)]
        return []

    @property
    def route(self) -> str:
        """Return this node's route."""
        return self._settings.route

    def wait_until_attached(self, timeout_s: float) -> None:
        """Wait until this process is attached to its agent, at most so long."""
        self.attachment.attached.wait(timeout_s)

    def feed_moved(self, head: int) -> None:
        """Tell the agent; if it does not hear, its next heartbeat carries the change anyway.

        In an event loop one word stands for all commits of a millisecond: it costs a system call
        here and wakes the agent.
        """
        self._all_hold = False
        self._moved(head)

    def _peers_hold(self, head: int, all_hold: bool) -> None:
        self._all_hold &= all_hold
        self._moved(head)

    def _moved(self, head: int) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        now_s = time.monotonic()
        if loop is not None and now_s - self._told_s < FEED_MOVED_INTERVAL_S:
            self._untold_head = head
            # A timer whose loop was closed never fires.
            if not self._put_off_s <= now_s < self._put_off_s + FEED_MOVED_INTERVAL_S:
                self._put_off_s = now_s
                loop.call_later(FEED_MOVED_INTERVAL_S, self._tell_put_off)
            return
        self._tell(loop, head, now_s)

    def _tell_put_off(self) -> None:
        self._put_off_s = 0.0
        self._tell(asyncio.get_running_loop(), self._untold_head, time.monotonic())

    def _tell(self, loop: asyncio.AbstractEventLoop | None, head: int, now_s: float) -> None:
        self._told_s = now_s
        operation = Operation.PEERS_HOLD if self._all_hold else Operation.FEED_MOVED
        self._all_hold = True
        held, self._held = self._held, []
        argument: list[object] = [head]
        if held:
            number = held[-1][0]
            # Those of another grant the agent sends itself.
            argument += [number, [place for under, place in held if under == number]]
        try:
            link = None if loop is None else self._loop_links.find(loop)
            (self._pool if link is None else link).tell(operation, *argument)
        except OSError:
            pass

    def _tell_held(self, place: int, number: int) -> None:
        """Tell the agent that the store has a place of our feed, written under that grant."""
        self._held.append((number, place))
        self.feed_moved(place)

    def _ask_grant(self) -> object:
        with suppress(TimeoutError, WireError, OSError):
            return self._pool.ask(Operation.GRANT, timeout_s=GRANT_TIMEOUT_S)
        return None

    async def _ask_grant_async(self) -> object:
        with suppress(TimeoutError, WireError, OSError):
            link = await self._loop_links.open()
            return await link.ask(Operation.GRANT, timeout_s=GRANT_TIMEOUT_S)
        return None

    def confirm(
        self, head: int, stored: Sequence[Stored] = (), *, ends: bool = False
    ) -> bool:
        """Wait until a peer, with ``ack="all"`` every one, holds our feed up to ``head``."""
        timeout_s = self._ack_timeout_s
        if self._direct_ways and (write := plain_write(head, stored)) is not None:
            began_s = time.monotonic()
            for way in self._direct_ways:
                if way.confirm(write):
                    return True
            timeout_s = max(0.0, timeout_s - (time.monotonic() - began_s))
        wanted = self._wanted(head, timeout_s, ends, stored)
        answer = self._ask(Operation.CONFIRM, *wanted, timeout_s=timeout_s)
        return self._is_confirmed(answer)

    async def confirm_async(
        self, head: int, stored: Sequence[Stored] = (), *, ends: bool = False
    ) -> bool:
        """Do what ``confirm`` does, without blocking the event loop."""
        timeout_s = self._ack_timeout_s
        if self._direct_ways and (write := plain_write(head, stored)) is not None:
            began_s = time.monotonic()
            for way in self._direct_ways:
                if await way.confirm_async(write):
                    return True
            timeout_s = max(0.0, timeout_s - (time.monotonic() - began_s))
        wanted = self._wanted(head, timeout_s, ends, stored)
        answer = await self._ask_async(Operation.CONFIRM, *wanted, timeout_s=timeout_s)
        return self._is_confirmed(answer)

    def _wanted(
        self, head: int, timeout_s: float, ends: bool, stored: Sequence[Stored]
    ) -> tuple[int, bool, int, bool, list[str]]:
        """Return what a confirmation is asked for: up to where, by all or one, how soon, of ends,
        and of which sessions; of none when they are many.

        An agent with more time than we wait would say nothing before we take it for dead.
        """
        keys = [key for key, *_ in stored] if len(stored) <= AHEAD_KEYS_MAX else []
        return head, self._by_all, int(timeout_s * 1000), ends, keys

    def fetch(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        """Ask the peers for a session, or for a copy that contains the wanted writes.

        An agent that is starting is waited for apart from that.
        """
        if patience_s := self.contact.patience_s():
            self.attachment.attached.wait(patience_s)
        timeout_s = self._settings.fetch_timeout_s + GRACE_S
        rows = VERSIONS.pack(wanted)
        return self._is_found(key, self._ask(Operation.FETCH, key, rows, timeout_s=timeout_s))

    async def fetch_async(self, key: str, wanted: Mapping[bytes, int] = NOTHING_MORE) -> bool:
        """Do what ``fetch`` does, without blocking the event loop."""
        for _ in range(round(self.contact.patience_s() / RECONNECT_S)):
            if self.attachment.attached.is_set():
                break
            await pause(RECONNECT_S)
        timeout_s = self._settings.fetch_timeout_s + GRACE_S
        rows = VERSIONS.pack(wanted)
        answer = await self._ask_async(Operation.FETCH, key, rows, timeout_s=timeout_s)
        return self._is_found(key, answer)

    def gather(self, principal: str) -> bool:
        """Have the agent bring all sessions of a user here from the store; peers hold the same."""
        if not self._settings.store:
            return True
        tag, timeout_s = principal_tag(principal), self._settings.fetch_timeout_s + GRACE_S
        return self._ask(Operation.GATHER, tag, timeout_s=timeout_s) is True

    async def gather_async(self, principal: str) -> bool:
        """Do what ``gather`` does, without blocking the event loop."""
        if not self._settings.store:
            return True
        tag, timeout_s = principal_tag(principal), self._settings.fetch_timeout_s + GRACE_S
        return await self._ask_async(Operation.GATHER, tag, timeout_s=timeout_s) is True

    def phase(self) -> str:
        """Ask the agent what the node is doing: a word, NO_AGENT when it does not answer."""
        return _phase(self._ask(Operation.STATUS, timeout_s=PHASE_TIMEOUT_S))

    async def phase_async(self) -> str:
        """Do what ``phase`` does, without blocking the event loop."""
        return _phase(await self._ask_async(Operation.STATUS, timeout_s=PHASE_TIMEOUT_S))

    async def subscribe(self, key: str, wake: Callable[[], object]) -> Subscription | None:
        """Have the agent say when a session may have changed; None when it cannot now.

        Under trio it never can: a thread for each watch would be dearer than looking.
        """
        if in_trio():
            return None
        try:
            link = await self._loop_links.open()
            if not link.can_watch:
                return None
            token = await link.watch(key, wake, SUBSCRIBE_TIMEOUT_S)
        except (AgentGone, TimeoutError, OSError):
            return None
        return _Watched(link, token) if token else None

    def listen(self, everywhere: bool, heard: Callable[[list[Any]], None]) -> None:
        """Have the agent's events about sessions passed to ``heard``, on a thread of ours."""
        if self.attachment.listen(everywhere, heard):
            try:
                # Answered, so that nothing is missed that happens after this.
                self._pool.ask(
                    Operation.LISTEN, everywhere, os.getpid(), timeout_s=SUBSCRIBE_TIMEOUT_S
                )
            except (WireError, OSError):
                pass

    def close(self) -> None:
        """Detach from the agent."""
        self.attachment.stop()
        for way in self._direct_ways:
            way.close()
        self._pool.close()
        self._loop_links.close()

    def _ask(self, operation: Operation, *argument: object, timeout_s: float) -> object | None:
        """Return the agent's answer, None when none came in time. Waits for an agent to come."""
        now_s = time.monotonic()
        deadline_s = now_s + timeout_s
        while (left_s := deadline_s - now_s) > 0 and not self._circuit_breaker.is_open(now_s):
            try:
                answer: object = self._pool.ask(operation, *argument, timeout_s=left_s + GRACE_S)
            except AgentGone:
                time.sleep(min(RECONNECT_S, left_s))
                now_s = time.monotonic()
            except (TimeoutError, WireError, OSError):
                break
            else:
                self._circuit_breaker.succeeded()
                return answer
        self._no_answer(deadline_s)
        return None

    async def _ask_async(
        self, operation: Operation, *argument: object, timeout_s: float
    ) -> object | None:
        if in_trio():
            return await in_thread(partial(self._ask, operation, *argument, timeout_s=timeout_s))
        now_s = time.monotonic()
        deadline_s = now_s + timeout_s
        while (left_s := deadline_s - now_s) > 0 and not self._circuit_breaker.is_open(now_s):
            try:
                link = await self._loop_links.open()
                answer: object = await link.ask(operation, *argument, timeout_s=left_s + GRACE_S)
            except AgentGone:
                await asyncio.sleep(min(RECONNECT_S, left_s))
                now_s = time.monotonic()
            except (TimeoutError, WireError, OSError):
                break
            else:
                self._circuit_breaker.succeeded()
                return answer
        self._no_answer(deadline_s)
        return None

    def _no_answer(self, deadline_s: float) -> None:
        now_s = time.monotonic()
        if now_s >= deadline_s:
            self._circuit_breaker.failed(now_s, deadline_s)

    def _is_found(self, key: str, answer: object) -> bool:
        if answer is not True:
            self.contact.waited_for(key)
        return answer is True

    def _is_confirmed(self, answer: object) -> bool:
        """Count nobody to ask as confirmed, but not somebody too slow, or no agent in time."""
        if not isinstance(answer, int) or answer < 0:
            return False
        if answer == 0 and not self._alone_logged:
            logger.warning(
                "clustersession: no other node is connected; what is written now is on %s only",
                self._settings.route,
            )
        self._alone_logged = answer == 0
        return True


def _phase(status: object) -> str:
    return str(status.get("phase", NO_AGENT)) if isinstance(status, dict) else NO_AGENT


class _Watched:
    """Implements ``cluster_port.Subscription``: the agent watches a session for us."""

    def __init__(self, link: AsyncLink, token: int) -> None:
        self._link = link
        self._token = token

    @property
    def is_open(self) -> bool:
        return self._link.is_open

    def close(self) -> None:
        self._link.unwatch(self._token)
