"""Puts together what the agent tells of itself and its members."""

import os
import shutil
import time
from typing import Any

from clustersession import __version__
from clustersession.agent.driver import Driver, moment
from clustersession.agent.process_usage import usage
from clustersession.agent.sweeper import Sweeper
from clustersession.agent.worker_server import WorkerServer
from clustersession.core.identity import short
from clustersession.core.membership import Member
from clustersession.net.link_server import Refusal
from clustersession.node.context import Peer
from clustersession.node.engine import Engine
from clustersession.replica.home import NodeHome
from clustersession.replica.results import ReplicaStats
from clustersession.settings.settings import Settings
from clustersession.wire.envelope import DropReason


def status_of(
    settings: Settings, home: NodeHome, driver: Driver, workers: WorkerServer, sweeper: Sweeper
) -> dict[str, Any]:
    """Return the status in plain values: they pass the unix socket and are printed as JSON.

    Counts are since the agent started; ``work`` is what its workers counted meanwhile.
    """
    return {
        **_node(settings, driver, workers),
        **_held(driver.replica.stats(), home),
        **_done(driver, workers, sweeper),
        **_store(driver),
        **_journal(driver),
    }


def _node(settings: Settings, driver: Driver, workers: WorkerServer) -> dict[str, Any]:
    engine = driver.engine
    context = engine.context
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
        "latest_time_ms": driver.replica.highest_ms(),
        "workers": workers.worker_pids,
        "workers_of_another_store": workers.waiting_pids,
        "carrier": engine.sender.carrier(),
        "multicast": _multicast(settings, driver),
        "seeds": list(settings.seeds),
        "ack": settings.ack,
        "store_mark": settings.store_marks[0],
        "store_secrets_mark": settings.store_secrets_mark,
        "local_health": engine.membership.detector.health,
    }


def _store(driver: Driver) -> dict[str, Any]:
    store = driver.engine.store
    if driver.store is None or store is None:
        return {}
    settings, found = driver.settings, driver.store.status(
        store, driver.replica.stats().feed_entries
    )
    # Without an idle time nothing leaves, and no size has it leave earlier.
    bound = settings.near_cache_bytes_max if settings.effective_near_cache_idle_s else None
    return {"store": {**found, "near_cache_bytes_max": bound}}


def _journal(driver: Driver) -> dict[str, Any]:
    if driver.journal is None:
        return {"journal": {"durability": "none"}}
    found = driver.engine.recovery.status(moment())
    return {
        "journal": driver.journal.status(),
        "recovery": {
            "stage": found.stage.value,
            "missing": {node.hex(): route for node, route in found.missing.items()},
            "merged": found.merged,
            "left_s": round(found.left_s, 1) if found.left_s < float("inf") else None,
        },
    }


def _held(stats: ReplicaStats, home: NodeHome) -> dict[str, Any]:
    return {
        "sessions": stats.sessions,
        "tombstones": stats.tombstones,
        "feed_head": stats.head,
        "feed_entries": stats.feed_entries,
        "replica_bytes": stats.bytes_used,
        "map_bytes": stats.bytes_max,
        "disk_free_bytes": shutil.disk_usage(home.directory).free,
    }


def _done(driver: Driver, workers: WorkerServer, sweeper: Sweeper) -> dict[str, Any]:
    event_log = driver.event_log
    return {
        "uptime_s": round(time.monotonic() - driver.started_s, 1),
        "members": [_member(driver, member) for member in driver.engine.membership],
        "work": dict(workers.work.counts),
        "applied": driver.life.applied,
        "gaps_repaired": event_log.counters["gaps_repaired"],
        "sessions_repaired": event_log.counters["sessions_repaired"],
        "sweeps": sweeper.sweeps,
        "sessions_swept": sweeper.swept,
        "snapshot": dict(zip(("loaded", "total"), event_log.snapshot, strict=True)),
        "datagrams": _datagrams(driver),
        "direct": _direct(driver),
        "connections_refused": {str(r): driver.refused.get(r, 0) for r in Refusal},
        "events": dict(sorted(event_log.events.items())),
        "events_unheard": workers.watchers.unheard,
        "process": usage(),
        "counters": dict(sorted(event_log.counters.items())),
    }


def _lags(driver: Driver, member: Member, peer: Peer | None) -> dict[str, int]:
    engine = driver.engine
    if engine.store is not None:
        # A node lacks what the store lacks; what the store has, it reads when it needs it.
        return {"behind_us": engine.store.sender.lag(), "we_are_behind": 0}
    node = member.identity.node
    return {
        "behind_us": engine.sender.behind(peer) if peer is not None else 0,
        "we_are_behind": max(0, member.head - engine.context.cursor(node).position),
    }


def _carrier(engine: Engine, peer: Peer | None) -> str:
    if engine.store is not None or (peer is not None and peer.hears_us):
        return engine.sender.carrier()
    return "tcp"


def _multicast(settings: Settings, driver: Driver) -> str:
    if not driver.engine.context.multicast:
        return "off"
    works = driver.engine.heartbeat.multicast_works
    group = f"{settings.multicast_address}:{settings.multicast_port}"
    return f"{group} ({'works' if works else 'not heard'})"


def _datagrams(driver: Driver) -> dict[str, Any]:
    channel, dropped = driver.group.channel, driver.group.dropped
    return {
        "sent": 0 if channel is None else channel.sent,
        "failed": 0 if channel is None else channel.send_failures,
        "received": 0 if channel is None else channel.received,
        "dropped": {str(reason): dropped[reason] for reason in DropReason},
    }


def _direct(driver: Driver) -> dict[str, Any]:
    taken, refused = driver.life.direct
    dropped = sum(driver.direct.dropped.values())
    return {
        "listens": driver.engine.context.takes_direct,
        "changes": {"taken": taken, "refused": refused, "dropped": dropped},
    }


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
        "carrier": _carrier(engine, peer),
        **_lags(driver, member, peer),
    }
