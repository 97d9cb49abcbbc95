"""The status of a node, for tests of its metrics."""

from typing import Any

from clustersession.agent.metrics_exposition import exposed
from clustersession.core.errors import StoreErrorKind


def member(number: int, status: str = "alive", **values: Any) -> dict[str, Any]:
    return {
        "route": f"node{number}", "status": status, "since_s": 10.0, "heard_s": 0.1,
        "behind_us": 3, "we_are_behind": 4, "clock_skew_ms": 1500, **values,
    }


def text(status: dict[str, Any]) -> str:
    return b"".join(exposed(status)).decode()


STORE: dict[str, Any] = {
    "state": "reached", "slow": False, "behind": 0, "oldest_s": None, "dropped": 0,
    "near_cache_bytes_max": 2**30, "round_trip_ms": 0.4,
    "errors": dict.fromkeys(map(str, StoreErrorKind), 0),
}
JOURNAL = {
    "durability": "second", "bytes": 100, "synced_s_ago": 0.5, "longest_sync_ms": 2.0,
    "rewritings": 1, "failures": 0, "failed": "",
}
RECOVERY = {"stage": "over", "missing": {}, "merged": 0, "left_s": None}
EXAMPLE = {
    "journal": JOURNAL, "recovery": RECOVERY,
    "store": STORE,
    "phase": "ready", "members": [],
    "datagrams": {"dropped": {str(r): 0 for r in (
        "too_short", "not_ours", "unknown_version", "other_cluster", "unknown_key", "forged",
        "old_epoch", "replayed", "too_old",
    )}},
    "connections_refused": dict.fromkeys(("too_many", "tls", "timeout", "hello", "lost"), 0),
}
