"""The cluster as a worker of a distributable node sees it: through its agent."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from clustersession.core.errors import ReplicaError, WireError
from clustersession.core.serving_view import VIEW_NOTE, View
from clustersession.net.agent_link import AgentGone, AsyncLink, LinkPool
from clustersession.replica.home import NodeHome
from clustersession.replica.protocol import Replica
from clustersession.session.cluster_port import Subscription
from clustersession.settings.settings import Settings
from clustersession.wire.local import Operation
from clustersession.worker.attachment import Attachment
from clustersession.worker.circuit_breaker import CircuitBreaker

RECONNECT_S = 0.02
GRACE_S = 0.05
FEED_MOVED_INTERVAL_S = 0.001
"""How long one word that the feed has moved stands for all commits of an event loop."""
VIEW_FRESH_S = 0.005
"""How long a view is used without another look, which is a tenth of what reading a session costs.
That a node has died is known after some milliseconds at best."""
SUBSCRIBE_TIMEOUT_S = 1.0
PHASE_TIMEOUT_S = 1.0

logger = logging.getLogger("clustersession")


class AgentClient:
    """Implements ``session.cluster_port.ClusterPort`` over the agent's unix socket."""

    def __init__(
        self,
        settings: Settings,
        home: NodeHome,
        replica: Replica,
        *,
        start: Callable[[], bool] | None = None,
    ) -> None:
        self._settings = settings
        self._home = home
        self._replica = replica
        # What a confirmation is asked for, besides the head: by all peers or one, within how long.
        self._wanted = settings.ack == "all", int(settings.ack_timeout_s * 1000)
        self._pool = LinkPool(home.agent_socket)
        self._loop_links: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncLink]
        self._loop_links = WeakKeyDictionary()
        self._connecting: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]
        self._connecting = WeakKeyDictionary()
        self._view_bytes: bytes | None = None
        self._view_fresh_until_s = 0.0
        self._serving = frozenset({settings.route})
        self._view_lock = threading.Lock()
        self._alone_logged = False
        self._told_s = self._tell_due_s = 0.0
        self._untold_head = 0
        self.attachment = Attachment(settings, home, start=start)
        self._circuit_breaker = CircuitBreaker(lambda: self.attachment.attachments)

    @property
    def route(self) -> str:
        """This node's route."""
        return self._settings.route

    def serving_routes(self) -> frozenset[str]:
        """Who serves, by the view of the agent; ourselves unless we drain.

        It may have changed since, but not more than VIEW_FRESH_S ago.
        """
        now_s = time.monotonic()
        if now_s < self._view_fresh_until_s:
            return self._serving
        try:
            data = self._replica.load_note(VIEW_NOTE)
        except ReplicaError:
            return self._serving
        if data != self._view_bytes:
            with self._view_lock:
                view = View.decode(data)
                own = frozenset() if view.draining else frozenset({self._settings.route})
                self._serving = (view.serving - {self._settings.route}) | own
                self._view_bytes = data
        self._view_fresh_until_s = now_s + VIEW_FRESH_S
        return self._serving

    def feed_moved(self, head: int) -> None:
        """Tell the agent; if it does not hear, its next heartbeat carries the change anyway.

        In an event loop one word stands for all commits of a millisecond: it costs a system call
        here and wakes the agent.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        now_s = time.monotonic()
        if loop is not None and now_s - self._told_s < FEED_MOVED_INTERVAL_S:
            self._untold_head = head
            # A timer whose loop was closed never fires.
            if not self._tell_due_s <= now_s < self._tell_due_s + FEED_MOVED_INTERVAL_S:
                self._tell_due_s = now_s
                loop.call_later(FEED_MOVED_INTERVAL_S, self._tell_due)
            return
        self._tell(loop, head, now_s)

    def _tell_due(self) -> None:
        self._tell_due_s = 0.0
        self._tell(asyncio.get_running_loop(), self._untold_head, time.monotonic())

    def _tell(self, loop: asyncio.AbstractEventLoop | None, head: int, now_s: float) -> None:
        self._told_s = now_s
        try:
            link = self._loop_links.get(loop) if loop is not None else None
            if link is not None and link.is_open:
                link.tell(Operation.MOVED, head)
            else:
                self._pool.tell(Operation.MOVED, head)
        except (AgentGone, OSError):
            self._drop_idle()

    def confirm(self, head: int) -> bool:
        """Wait until a peer, with ``ack="all"`` every one, holds our feed up to ``head``."""
        timeout_s = self._settings.ack_timeout_s
        answer = self._ask(Operation.CONFIRM, head, *self._wanted, timeout_s=timeout_s)
        return self._is_confirmed(answer)

    async def confirm_async(self, head: int) -> bool:
        """``confirm`` without blocking the event loop."""
        timeout_s = self._settings.ack_timeout_s
        answer = await self._ask_async(Operation.CONFIRM, head, *self._wanted, timeout_s=timeout_s)
        return self._is_confirmed(answer)

    def fetch(self, key: str) -> bool:
        """Ask the peers for a session."""
        timeout_s = self._settings.fetch_timeout_s + GRACE_S
        return self._ask(Operation.FETCH, key, timeout_s=timeout_s) is True

    async def fetch_async(self, key: str) -> bool:
        """``fetch`` without blocking the event loop."""
        timeout_s = self._settings.fetch_timeout_s + GRACE_S
        return await self._ask_async(Operation.FETCH, key, timeout_s=timeout_s) is True

    def phase(self) -> str:
        """What the node is doing, in its agent's words; empty when that does not answer."""
        return _phase(self._ask(Operation.STATUS, timeout_s=PHASE_TIMEOUT_S))

    async def phase_async(self) -> str:
        """``phase`` without blocking the event loop."""
        return _phase(await self._ask_async(Operation.STATUS, timeout_s=PHASE_TIMEOUT_S))

    async def subscribe(self, key: str, wake: Callable[[], object]) -> Subscription | None:
        """Have the agent say when a session may have changed; None when it cannot now."""
        try:
            link = await self._link()
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
            except (AgentGone, TimeoutError, WireError, OSError):
                self._drop_idle()

    def close(self) -> None:
        """Detach from the agent."""
        self.attachment.stop()
        self._pool.close()
        for link in self._loop_links.values():
            link.close()

    def _drop_idle(self) -> None:
        """When one connection finds the agent gone, the others of the pool are as dead."""
        try:
            self._pool.close()
        except IndexError:
            pass  # another thread emptied the pool meanwhile

    def _ask(self, operation: Operation, *argument: object, timeout_s: float) -> object | None:
        """The agent's answer, or None when there was none in time; waits for an agent to come."""
        now_s = time.monotonic()
        deadline_s = now_s + timeout_s
        while (left_s := deadline_s - now_s) > 0 and not self._circuit_breaker.is_over(now_s):
            try:
                answer: object = self._pool.ask(operation, *argument, timeout_s=left_s + GRACE_S)
            except AgentGone:
                self._drop_idle()
                time.sleep(min(RECONNECT_S, left_s))
                now_s = time.monotonic()
            except (TimeoutError, WireError, OSError):
                break
            else:
                self._circuit_breaker.answered()
                return answer
        self._disappointed(deadline_s)
        return None

    async def _ask_async(
        self, operation: Operation, *argument: object, timeout_s: float
    ) -> object | None:
        now_s = time.monotonic()
        deadline_s = now_s + timeout_s
        while (left_s := deadline_s - now_s) > 0 and not self._circuit_breaker.is_over(now_s):
            try:
                link = await self._link()
                answer: object = await link.ask(operation, *argument, timeout_s=left_s + GRACE_S)
            except AgentGone:
                await asyncio.sleep(min(RECONNECT_S, left_s))
                now_s = time.monotonic()
            except (TimeoutError, WireError, OSError):
                break
            else:
                self._circuit_breaker.answered()
                return answer
        self._disappointed(deadline_s)
        return None

    def _disappointed(self, deadline_s: float) -> None:
        now_s = time.monotonic()
        if now_s >= deadline_s:
            self._circuit_breaker.disappointed(now_s)

    def _is_confirmed(self, answer: object) -> bool:
        """Nobody to ask counts as confirmed; somebody too slow, or no agent in time, does not."""
        if not isinstance(answer, int) or answer < 0:
            return False
        if answer == 0 and not self._alone_logged:
            logger.warning(
                "clustersession: no other node is connected; what is written now is on %s only",
                self._settings.route,
            )
        self._alone_logged = answer == 0
        return True

    async def _link(self) -> AsyncLink:
        loop = asyncio.get_running_loop()
        link = self._loop_links.get(loop)
        if link is not None and link.is_open:
            return link
        async with self._connecting.setdefault(loop, asyncio.Lock()):
            link = self._loop_links.get(loop)
            if link is None or not link.is_open:
                link = self._loop_links[loop] = await AsyncLink.connect(self._home.agent_socket)
            return link


def _phase(status: object) -> str:
    return str(status.get("phase", "")) if isinstance(status, dict) else ""


class _Watched:
    """A session that the agent watches for us."""

    def __init__(self, link: AsyncLink, token: int) -> None:
        self._link = link
        self._token = token

    @property
    def is_open(self) -> bool:
        return self._link.is_open

    def close(self) -> None:
        self._link.unwatch(self._token)
