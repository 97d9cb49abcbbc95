"""How long after a logout on one node a watcher on another one hears of it.

    python -m benchmarks.watch [rounds]

Each round logs a user in on node 1, watches the session on node 2, as an open websocket would, and
ends it on node 1 without waiting for peers. The same for a change of an attribute, and for a change
by another worker of the watcher's own node.
"""

import asyncio
import secrets
import sys
import time

from benchmarks.nodes import BenchNode, bench_nodes, percentiles, wait_until
from clustersession.core.state import Change, Creation
from clustersession.session.manager import SessionManager
from clustersession.session.session import Session
from clustersession.session.token import IdSigner
from clustersession.session.visit import Visit
from clustersession.wire.values import encode_value

NODES = 2


def main(rounds: int = 200) -> None:
    """Measure and print, in milliseconds."""
    with bench_nodes(NODES) as nodes:
        for node in nodes:
            node.start_agent()
            node.attach()
        for node in nodes:
            wait_until(lambda n=node: n.is_ready(NODES - 1), "both nodes")
        asyncio.run(_measure(nodes[0], nodes[1], rounds))


async def _measure(first: BenchNode, second: BenchNode, rounds: int) -> None:
    assert second.client is not None
    manager = SessionManager(
        second.settings, second.replica, IdSigner([b"x" * 32]), second.client,
        wall_ms=_now_ms, random_bytes=secrets.token_bytes,
    )
    taken: dict[str, list[float]] = {
        "changed on the other node": [], "changed by a sibling worker": [],
        "ended on the other node": [],
    }
    for _ in range(rounds):
        key = "1" + secrets.token_hex(11)
        now_ms = _now_ms()
        creation = Creation(now_ms, now_ms + 3_600_000, 1_800_000)
        _commit(first, Change(key, now_ms, {"n": encode_value(0)}, creation=creation))
        wait_until(lambda k=key: second.replica.get(k) is not None, "the session")
        state = second.replica.get(key)
        assert state is not None
        session = Session()
        Visit(manager.context, session).attach("-", key, state)
        changes = session.watch()
        for (what, node, change) in (
            ("changed on the other node", first, {"sets": {"n": encode_value(1)}}),
            ("changed by a sibling worker", second, {"sets": {"n": encode_value(2)}}),
            ("ended on the other node", first, {"end": "invalidated"}),
        ):
            heard = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0.01)
            started_s = time.perf_counter()
            _commit(node, Change(key, _now_ms(), **change))
            await heard
            taken[what].append(1000 * (time.perf_counter() - started_s))
    print(f"{rounds} rounds, milliseconds")
    for what, values in taken.items():
        print(f"{what:<28} {percentiles(values)}")
    second.client.close()


def _commit(node: BenchNode, change: Change) -> None:
    assert node.client is not None
    node.client.feed_moved(node.replica.commit([change], change.accessed_ms).head)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
