"""What a request costs where many sessions are held and many users are active.

    python -m benchmarks users [--small]

One node with one session, one with 100,000 of which a worker's 2,000 users are active in turn, and
a signed cookie, in turn in the same rounds. A single session is the best case of every cache, of
ours and of the processor's.
"""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from starlette.middleware.sessions import SessionMiddleware

from benchmarks.overhead import PAYLOADS
from benchmarks.request import SIGNED, App, AsgiClient, bare
from benchmarks.result import Result, Table, Target
from clustersession.asgi import ClusterSessionMiddleware
from clustersession.core.state import Change, Creation
from clustersession.wire.values import encode_value
from clustersession.worker.runtime import Runtime

HELD, ACTIVE = 100_000, 2_000
ONE, MANY = "one session", "many sessions"
ACTIONS = ("read", "write")
_AT_ONCE = 200


def hold(runtime: Runtime, count: int) -> None:
    """Store sessions of people who are not active."""
    replica = runtime.manager().context.replica
    now_ms = time.time_ns() // 1_000_000
    creation = Creation(now_ms, now_ms + 86_400_000, 3_600_000)
    sets = {name: encode_value(value) for name, value in PAYLOADS["3 keys"].items()}
    keys = [f"1{secrets.token_hex(11)}" for _ in range(count)]
    for start in range(0, count, _AT_ONCE):
        replica.commit(
            [Change(k, now_ms, sets, creation=creation) for k in keys[start : start + _AT_ONCE]],
            now_ms,
        )


def measure(
    clients: Mapping[str, AsgiClient], plain: AsgiClient, cookies: Mapping[str, list[str]],
    rounds: int,
) -> dict[str, dict[str, float]]:
    """By action and client, the median that a request costs beyond the bare one, in us."""
    found: dict[str, dict[str, float]] = {}
    for action in ACTIONS:
        medians: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(rounds):
            base = median(plain.series("/untouched", [""], ACTIVE))
            for name, client in clients.items():
                taken = client.series(f"/{action}", cookies[name], ACTIVE)
                medians[name].append((median(taken) - base) / 1000)
        found[action] = {name: median(values) for name, values in medians.items()}
    return found


def run(small: bool) -> Result:
    """All in one process; small: a twentieth of the sessions."""
    held, active, rounds = (HELD // 20, ACTIVE // 10, 3) if small else (HELD, ACTIVE, 9)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        loop = asyncio.new_event_loop()
        stack.callback(loop.close)
        apps: dict[str, App] = {SIGNED: SessionMiddleware(bare, secrets.token_hex())}
        for route, name in (("one", ONE), ("many", MANY)):
            options: dict[str, Any] = {"state_dir": str(directory / route), "route": route}
            runtime = Runtime.from_options({
                **options, "secret": secrets.token_hex(), "new_sessions_per_second_max": 0,
            })
            stack.callback(runtime.close)
            apps[name] = ClusterSessionMiddleware(bare, runtime=runtime)
            if name == MANY:
                hold(runtime, held - active)
        clients = {name: AsgiClient(app, loop) for name, app in apps.items()}
        counts = {SIGNED: 1, ONE: 1, MANY: active}
        cookies = {
            name: [client.ask("/fill0", "")[0] for _ in range(counts[name])]
            for name, client in clients.items()
        }
        found = measure(clients, AsgiClient(bare, loop), cookies, rounds)
    rows = [(action, *(row[name] for name in clients)) for action, row in found.items()]
    write = found["write"]
    targets = [
        Target("write over signed cookie, one session", write[ONE] / write[SIGNED], 1.05),
        Target(f"write over signed cookie, {held:,} sessions", write[MANY] / write[SIGNED], 1.6),
    ]
    title = f"Median over the bare application, us; {held:,} sessions, {active:,} users active"
    return Result("Many users", [Table(title, ("", *clients), rows)], targets)
