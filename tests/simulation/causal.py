"""What causal consistency promises: no read behind its client, and no question for a forger."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING

from clustersession.core.versions import covers
from clustersession.session.visit import Visit
from tests.simulation.ledger import Violation

if TYPE_CHECKING:
    from tests.simulation.worker import Worker

HIGH_BIT = 0x80
FIRST_SEQ_BYTE = 8


def check_current(worker: Worker, visit: Visit) -> None:
    """At peace a request gets what its client has seen, if nobody has waited for that in vain."""
    causal, key = worker.manager.context.causal, visit.key
    seen = visit.seen.get(key or "")
    if causal is None or not seen or visit.state is None or worker.host.was_full:
        return
    if key in causal._given_up or worker.host.world.ledger.ever_lost:
        return
    if not covers(visit.state.versions, seen):
        raise Violation(f"{worker.host.name} served {(key or '')[:6]} behind what its client saw")
    worker.host.world.marks["what a client has seen was there"] += 1


def check_forged(worker: Worker, cookie: str | None, seen: str) -> None:
    """A token that was changed makes nobody ask."""
    manager = worker.manager
    if cookie is None or not seen or manager.open([cookie]).missing:
        return
    if manager.open([cookie], None, [forged(seen)]).missing:
        raise Violation(f"{worker.host.name} asks its peers because of a token that nobody signed")


def forged(token: str) -> str:
    """The same token, with a write that never was in the place of the first one."""
    data = bytearray(urlsafe_b64decode(token[1:] + "=" * (-len(token[1:]) % 4)))
    data[FIRST_SEQ_BYTE] ^= HIGH_BIT
    return token[0] + urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
