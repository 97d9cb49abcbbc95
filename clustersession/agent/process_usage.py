"""Measures what the agent's process uses of its machine."""

import os
import resource
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_STARTED_MS = time.time_ns() // 1_000_000
_PROC = Path("/proc/self")


def usage() -> dict[str, Any]:
    """Return what this process uses, in plain values; what the system does not tell is left out."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    found: dict[str, Any] = {
        "started_ms": _STARTED_MS,
        "cpu_s": used.ru_utime + used.ru_stime,
        "fds_max": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }
    with suppress(OSError, ValueError, IndexError):
        pages = int((_PROC / "statm").read_text().split()[1])
        found["resident_bytes"] = pages * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError):
        found["fds"] = len(os.listdir(_PROC / "fd"))
    return found
