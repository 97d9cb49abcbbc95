"""Tells of changes made to one session anywhere, to those who wait, such as an open websocket.

Whoever watches compares the copy in the replica with the one it saw last. The agent only says when
to look, so that a lost word, a new agent or a burst of changes costs nothing but a later look:
nothing is queued, and nothing is missed.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from clustersession.core.errors import ReplicaError
from clustersession.core.expiring_values import is_expired
from clustersession.core.reclaiming import next_expiry_ms
from clustersession.core.state import SessionState, expires_ms
from clustersession.core.transitions import EXPIRED, changed_names
from clustersession.net.async_library import pause
from clustersession.session.changes import visible_values
from clustersession.session.cluster_port import Subscription
from clustersession.session.context import SessionContext
from clustersession.session.events import decoded
from clustersession.session.expiry import present
from clustersession.session.visit import SessionDict, visit_of

LOOK_S = 0.1
"""How often to look where nobody says when: without an agent, with an older one, under trio."""
LOOK_AGAIN_S = 0.01
"""How long to pause at least, when an attribute is about to expire."""
LOOK_ANYWAY_S = 2.0
"""How often to look besides: for the end of time, and should a word get lost."""


@dataclass(frozen=True, slots=True)
class SessionChange:
    """Says what others have changed in a session since the last look.

    names: attributes that were set or deleted; values: what they are now, without deleted ones.
    ended: the session is over, and nothing follows; reason: "invalidated", "replaced", "rotated",
    "revoked", "limit" or "expired".
    """

    names: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    ended: bool = False
    reason: str | None = None


def watch(session: SessionDict) -> AsyncIterator[SessionChange]:
    """Tell what others change from now on, until the session ends. Raises ValueError."""
    visit = visit_of(session)
    key, seen, context = visit.key, visit.state, visit.context
    if key is None or seen is None:
        raise ValueError("there is nothing to watch: the session is not stored; call asave() first")
    return _watch(session, context, key, seen)


async def _watch(
    session: SessionDict, context: SessionContext, key: str, seen: SessionState
) -> AsyncIterator[SessionChange]:
    woken = asyncio.Event()
    subscription: Subscription | None = None
    try:
        while True:
            if subscription is None or not subscription.is_open:
                subscription = await context.cluster.subscribe(key, woken.set)
            # Cleared before the replica is read: what is stored in between wakes us again.
            woken.clear()
            with suppress(ReplicaError):
                now = context.replica.get(key)
                if now is None and context.sessions_leave:
                    # It has left for the store before the agent heard that it is watched.
                    await context.cluster.fetch_async(key)
                    now = context.replica.get(key) or seen
                if now is not None:
                    now = present(context, key, now)
                    if context.events.pending:
                        await context.events.deliver_async()
                change = _difference(seen, now, session, context.now_ms())
                if change is not None:
                    yield change
                    if change.ended:
                        return
                seen = seen if now is None else now
            expiry_s = max(LOOK_AGAIN_S, (next_expiry_ms(seen) - context.now_ms()) / 1000)
            if subscription is None:
                await pause(min(LOOK_S, expiry_s))
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), min(LOOK_ANYWAY_S, expiry_s))
    finally:
        if subscription is not None:
            subscription.close()


def _difference(
    seen: SessionState, now: SessionState | None, session: SessionDict, now_ms: int
) -> SessionChange | None:
    if now is None or (now.ended is None and expires_ms(now) < now_ms):
        return SessionChange(ended=True, reason=EXPIRED)
    if now.ended is not None:
        return SessionChange(ended=True, reason=now.ended.reason)
    if now is seen or now.registers == seen.registers:
        return None
    # Whoever holds this very session object knows what he has written himself.
    attributes, stored = visit_of(session).attributes, visible_values(now.registers)
    names = tuple(
        name
        for name in changed_names(seen, now)
        if not attributes.knows(session, name, stored.get(name)) or _expired(name, seen, now_ms)
    )
    if not names:
        return None
    values = decoded(now)
    return SessionChange(names, {n: values[n] for n in names if n in values})


def _expired(name: str, seen: SessionState, now_ms: int) -> bool:
    register = seen.registers.get(name)
    value = None if register is None else register.value
    return value is not None and is_expired(value, now_ms)


__all__ = ["SessionChange", "watch"]
