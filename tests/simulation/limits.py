"""Attributes whose time is limited, and those that are compared and set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustersession.agent.sweeper import SWEEP_INTERVAL_S
from clustersession.core.expiring_values import is_expired, until_of
from clustersession.core.reclaiming import untils, without_expired
from clustersession.core.state import Register, SessionState
from clustersession.session.visit import Visit
from tests.simulation.ledger import Ledger, Violation

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.worker import Worker

LIMITED, STEP = "otp", "step"
SECONDS = {"x": 0.3, "y": 2.0, "z": 8.0}
ACTIONS = ("limit", "swap")
END_OF_TIME_MS = 2**63


def limit(session: Any, name: str, number: int) -> None:
    """Set an attribute that is over soon."""
    session.set(LIMITED, number, expires_in=SECONDS[name])


async def swap(host: Host, visit: Visit, number: int) -> None:
    """Put a number in the place of the one that is there; of each, one request of a host does so.

    Numbers are used once.
    """
    session: Any = visit.session
    old, marks = session.get(STEP), host.world.marks
    if not await session.aswap(STEP, old, number):
        marks["swap refused"] += 1
        return
    marks["swap done"] += 1
    if (visit.key, old) in host.replica.swapped:
        raise Violation(f"{host.name} had two requests of {visit.key} swap {old!r}")
    if visit.key is not None:
        host.replica.swapped.add((visit.key, old))


def judge_visible(worker: Worker, key: str, visit: Visit) -> None:
    """An attribute is there until its time is over, and never again on a host that found it so."""
    register = None if visit.state is None else visit.state.registers.get(LIMITED)
    if register is None:
        return
    host, now_ms = worker.host, worker.wall_ms()
    stamp = key, register.time, register.node
    written = host.world.ledger.written.get((key, LIMITED, register.time, register.node))
    until_ms = None if written is None else until_of(written)
    if until_ms is None:
        return
    if LIMITED in visit.session:
        if until_ms <= now_ms:
            raise Violation(f"{host.name} shows {key[:6]}[{LIMITED!r}] after its time")
        if stamp in host.replica.over:
            raise Violation(f"{host.name} shows {key[:6]}[{LIMITED!r}] again, which was over there")
        return
    if register.value is not None and until_ms > now_ms:
        raise Violation(f"{host.name} hides {key[:6]}[{LIMITED!r}] before its time")
    host.world.marks["attribute over"] += 1
    if not host.replica.disk.full:
        host.replica.over.add(stamp)


def was_written(
    ledger: Ledger, key: str, name: str, register: Register, latest_ms: float
) -> bool:
    """Whether somebody has written what a register holds, or its time is over by some clock."""
    written = ledger.written.get((key, name, register.time, register.node), b"")
    if written == register.value:
        return True
    return register.value is None and bool(written) and is_expired(written or b"", int(latest_ms))


def without_limited(state: SessionState) -> SessionState:
    """A copy as it is on every host when all of them have found out what is over."""
    return without_expired(state, END_OF_TIME_MS)


def check_reclaimed(host: Host, key: str, state: SessionState, slack_s: float) -> None:
    """The bytes of what is over are gone when all hosts have swept often enough."""
    patience_ms = 1000 * (2 * SWEEP_INTERVAL_S + slack_s)
    oldest_ms = min(untils(state).values(), default=END_OF_TIME_MS)
    swept_ms = min(other.running.swept_ms for other in host.world.hosts)
    if not host.was_full and swept_ms - oldest_ms > patience_ms:
        raise Violation(f"{host.name} keeps bytes of {key[:6]} that are over")
