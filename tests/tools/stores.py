"""What a status says of a store, made up."""

from typing import Any


def reached(**values: Any) -> dict[str, Any]:
    """One that is there."""
    return {
        "state": "reached", "slow": False, "where": "valkey:6379", "servers": ["valkey 9.1"],
        "since_s": 75.0, "reason": "", "round_trip_ms": 0.4, "behind": 0, "oldest_s": None,
        "refreshed": 5, "evicted": 6, "dropped": 4, "drops": False, "memory_bytes": 2**20,
        "memory_bytes_max": 0, "errors": {"closed": 2, "not_ready": 0}, **values,
    }


def away(**values: Any) -> dict[str, Any]:
    """One that is not."""
    return reached(**{
        "state": "away", "servers": [], "reason": "nobody listens", "round_trip_ms": None,
        "memory_bytes": None, "memory_bytes_max": None, **values,
    })
