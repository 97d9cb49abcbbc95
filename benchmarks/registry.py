"""The benchmarks that ``python -m benchmarks`` knows, by name, in the order they run."""

from importlib import import_module
from typing import Protocol, cast

from benchmarks.result import Result

BENCHMARKS = {
    "request": "benchmarks.request",
    "users": "benchmarks.users",
    "flask": "benchmarks.request_flask",
    "django": "benchmarks.request_django",
    "http": "benchmarks.http",
    "http_held": "benchmarks.http_held",
    "burst": "benchmarks.burst",
    "large": "benchmarks.large",
    "replication": "benchmarks.replication",
    "failover": "benchmarks.failover",
    "forming": "benchmarks.forming",
    "snapshot": "benchmarks.snapshot",
    "storage": "benchmarks.storage",
    "journal": "benchmarks.journal",
    "store_request": "benchmarks.store_request",
    "store_http": "benchmarks.store_http",
    "store_updates": "benchmarks.store_updates",
    "merging": "benchmarks.merging",
    "store_visible": "benchmarks.store_visible",
    "store_ack": "benchmarks.store_ack",
    "store_outage": "benchmarks.store_outage",
    "store_hosts": "benchmarks.store_hosts",
    "store_million": "benchmarks.store_million",
}
"""Modules with a ``run(small)``. Imported only when they run: each needs packages of its own."""


class Benchmark(Protocol):
    """A module of the registry."""

    def run(self, small: bool) -> Result:
        """Measure; small takes at most some tens of seconds. Raises when work was not done."""
        ...


def benchmark(name: str) -> Benchmark:
    """The module of a name."""
    return cast(Benchmark, import_module(BENCHMARKS[name]))
