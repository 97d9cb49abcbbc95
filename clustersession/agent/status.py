"""What the agent tells the command line about itself and its members."""

import os
import time
from typing import Any

from clustersession import __version__
from clustersession.agent.driver import Driver
from clustersession.core.identity import short
from clustersession.core.membership import Member
from clustersession.core.settings import Settings


def status_of(settings: Settings, driver: Driver, worker_pids: list[int]) -> dict[str, Any]:
    """Plain values only: it travels over the unix socket and is printed as JSON."""
    engine = driver.engine
    context = engine.context
    stats = driver.replica.stats()
    return {
        "cluster_name": settings.cluster_name,
        "route": settings.route,
        "node": short(context.own.node),
        "incarnation": context.own.incarnation,
        "address": str(driver.address),
        "phase": context.phase.name.lower(),
        "serving": context.serving,
        "agent_pid": os.getpid(),
        "version": __version__,
        "workers": worker_pids,
        "carrier": engine.sender.carrier(),
        "multicast": _multicast(settings, driver),
        "seeds": list(settings.seeds),
        "ack": settings.ack,
        "local_health": engine.membership.detector.health,
        "sessions": stats.sessions,
        "tombstones": stats.tombstones,
        "feed_head": stats.head,
        "feed_entries": stats.feed_entries,
        "replica_bytes": stats.bytes_used,
        "members": [_member(driver, member) for member in engine.membership],
        "counters": dict(sorted(driver.reporter.counters.items())),
    }


def _multicast(settings: Settings, driver: Driver) -> str:
    if not driver.engine.context.multicast:
        return "off"
    works = driver.engine.pulse.multicast_works
    group = f"{settings.multicast_address}:{settings.multicast_port}"
    return f"{group} ({'works' if works else 'not heard'})"


def _member(driver: Driver, member: Member) -> dict[str, Any]:
    engine = driver.engine
    node = member.identity.node
    peer = engine.context.peers.get(node)
    now_s = time.monotonic()
    return {
        "route": member.identity.route,
        "node": short(node),
        "address": str(member.identity.address),
        "status": member.status.value,
        "phase": member.phase.name.lower(),
        "serving": member.serving,
        "since_s": round(now_s - member.since_s, 1),
        "heard_s": round(now_s - member.heard_s, 2),
        "uptime_s": member.uptime_ms // 1000,
        "clock_skew_ms": member.skew_ms,
        "reason": member.reason,
        "carrier": engine.sender.carrier() if peer is not None and peer.hears_us else "tcp",
        "behind_us": max(
            0, driver.replica.head() - peer.progress.confirmed.floor if peer is not None else 0
        ),
        "we_are_behind": max(0, member.head - engine.context.cursor(node).position),
    }
