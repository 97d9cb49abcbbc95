"""Has a write confirmed by the store itself: one round trip, and the agent hears of it afterwards.

The agent says whether and where (``net.store.grant``), and is asked again each GRANT_S, or when
anything went wrong. What the store does not take as it is, what does not arrive in time and
all that is no plain write goes through the agent, which finds in the store what has arrived.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from clustersession.core.errors import StoreError, StoreErrorKind
from clustersession.net.async_library import in_trio
from clustersession.net.store.connection import StoreLimits
from clustersession.net.store.direct_links import DirectLinkPool, LoopConnections
from clustersession.net.store.grant import Grant
from clustersession.net.store.open_store import plan_of
from clustersession.net.store.refusals import refusal
from clustersession.net.store.resp import ErrorReply
from clustersession.net.store.server import FULL, WRONG_TYPE
from clustersession.node.store_calls import MergeAnswer
from clustersession.settings.settings import Settings
from clustersession.worker.direct_way import PlainWrite

logger = logging.getLogger("clustersession")

GRANT_S: Final = 1.0
"""How long a grant is used without asking again."""

REST_S: Final = 1.0
"""How long the agent is left to confirm everything after something went wrong."""

ANSWER_TIMEOUT_S: Final = 0.05
CONNECT_TIMEOUT_S: Final = 0.1
NAMES_MAX: Final = 64
BYTES_MAX: Final = 64 * 1024
"""A larger write takes its time anyway, and has its place behind others."""


class StoreWay:
    """Implements ``direct_way.DirectWay``.

    _ask, _ask_async: have the agent say whether we may. _tell: has it know a place that is held.
    _grant: what it said last; None: it is to be asked, but not before ``_rests_until_s``.
    _good_until_s: when it is asked again.
    """

    def __init__(
        self,
        settings: Settings,
        ask: Callable[[], object],
        ask_async: Callable[[], Awaitable[object]],
        tell: Callable[[int, int], None],
    ) -> None:
        self._plan = plan = plan_of(settings)
        self._calls = plan.calls
        self._ask, self._ask_async, self._tell = ask, ask_async, tell
        # All of a direct way and the agent's that may follow is what a request waits at most.
        self._answer_timeout_s = min(ANSWER_TIMEOUT_S, settings.ack_timeout_s / 4)
        self._connect_timeout_s = min(CONNECT_TIMEOUT_S, settings.ack_timeout_s / 4)
        self._links = DirectLinkPool(plan.url)
        self._connections = LoopConnections(plan.url, StoreLimits(
            connect_timeout_s=self._connect_timeout_s, silence_timeout_s=self._answer_timeout_s,
        ))  # fmt: skip
        self._grant: Grant | None = None
        self._good_until_s = self._rests_until_s = 0.0
        self._forbidden_told = False

    def confirm(self, write: PlainWrite) -> bool:
        """Have the store take a write."""
        now_s = time.monotonic()
        if now_s < self._rests_until_s or not _is_small(write):
            return False
        try:
            if now_s >= self._good_until_s:
                self._take(Grant.read(self._ask()), now_s)
            grant = self._grant
            if grant is None or grant.node != write.node:
                return False
            data = self._calls.change(write.key, write.part, write.base, write.enter, grant)
            answer = self._links.ask(grant, data, self._answer_timeout_s, self._connect_timeout_s)
        except (StoreError, OSError):
            self._rest()
            return False
        return self._is_taken(write, grant, answer)

    async def confirm_async(self, write: PlainWrite) -> bool:
        """Do what ``confirm`` does, without blocking the event loop; under trio there is no way."""
        now_s = time.monotonic()
        if now_s < self._rests_until_s or in_trio() or not _is_small(write):
            return False
        try:
            if now_s >= self._good_until_s:
                # Those that come meanwhile go on with what was said before.
                self._good_until_s = now_s + GRANT_S
                self._take(Grant.read(await self._ask_async()), now_s)
            grant = self._grant
            if grant is None or grant.node != write.node:
                return False
            data = self._calls.change(write.key, write.part, write.base, write.enter, grant)
            answer = await self._connections.ask(grant, data, self._answer_timeout_s)
        except (StoreError, OSError):
            self._rest()
            return False
        return self._is_taken(write, grant, answer)

    def close(self) -> None:
        """Close all connections."""
        self._links.close()
        self._connections.close()

    def _take(self, grant: Grant | None, now_s: float) -> None:
        self._grant, self._good_until_s = grant, now_s + GRANT_S

    def _rest(self) -> None:
        self._grant, self._good_until_s = None, 0.0
        self._rests_until_s = time.monotonic() + REST_S

    def _is_taken(self, write: PlainWrite, grant: Grant, answer: Any) -> bool:
        if type(answer) is int and answer in (MergeAnswer.DONE, MergeAnswer.SAME):
            self._tell(write.seq, grant.number)
            return True
        # Others than these two are refused to all writes.
        if isinstance(answer, ErrorReply) and answer.code not in (FULL, WRONG_TYPE):
            self._rest()
            self._tell_forbidden(grant, answer)
        return False

    def _tell_forbidden(self, grant: Grant, answer: ErrorReply) -> None:
        """Log once what the user of an ACL lacks: the agent may need less."""
        if self._forbidden_told:
            return
        user, pattern = self._plan.url.user, self._calls.keys.pattern
        error = refusal(str(grant.address), answer, user, pattern)
        if error.kind is StoreErrorKind.FORBIDDEN:
            self._forbidden_told = True
            logger.warning(
                "clustersession: writes are confirmed through the agent, which takes longer: %s",
                error,
            )


def _is_small(write: PlainWrite) -> bool:
    """Tell whether a write is small."""
    registers = write.part.registers
    if len(registers) > NAMES_MAX:
        return False
    return sum(len(name) + len(r.value or b"") for name, r in registers.items()) < BYTES_MAX
