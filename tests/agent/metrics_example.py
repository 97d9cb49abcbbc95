"""The status of a node, for tests of its metrics."""

from typing import Any

from clustersession.agent.metrics_exposition import exposed


def member(number: int, status: str = "alive", **values: Any) -> dict[str, Any]:
    return {
        "route": f"node{number}", "status": status, "since_s": 10.0, "heard_s": 0.1,
        "behind_us": 3, "we_are_behind": 4, "clock_skew_ms": 1500, **values,
    }


def text(status: dict[str, Any]) -> str:
    return b"".join(exposed(status)).decode()


EXAMPLE = {
    "phase": "ready", "members": [],
    "datagrams": {"dropped": {str(r): 0 for r in (
        "too_short", "not_ours", "unknown_version", "other_cluster", "unknown_key", "forged",
        "old_epoch", "replayed", "too_old",
    )}},
    "connections_refused": dict.fromkeys(("too_many", "tls", "timeout", "hello", "lost"), 0),
}
