"""Lost updates: pairs of requests at one time that write different attributes of one session.

    python -m benchmarks store_updates [--small] [--valkey]

Each request reads the session, takes its time, and writes an attribute of its own. Both go to one
worker, or each to a host of its own; afterwards the session must have both. Of what people use, two
hosts are two servers with the same Redis.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from benchmarks.http import ask, server
from benchmarks.nodes import wait_until
from benchmarks.result import Cell, Result, Table, Target
from benchmarks.store_http import command
from benchmarks.store_request import RIVALS, STORE_ONE, environments
from benchmarks.stores import store_nodes, store_server
from clustersession.tools.demo.processes import free_port

PAIRS = 500
ARRIVAL_S = 2.0
"""How long an update may take to be seen on the other host."""
SECOND = "store, the second host, ack one"
BOTH = "paira,pairb"


def run(small: bool) -> Result:
    """One framework after the other."""
    pairs = 20 if small else PAIRS
    result = Result("Lost updates")
    rows: list[list[Cell]] = []
    with ExitStack() as stack:
        store = stack.enter_context(store_server())
        first, second = stack.enter_context(store_nodes(store, 2, ack="one"))
        for node in (first, second):
            node.replica.close()
        known = environments(store, {STORE_ONE: first, SECOND: second})
        for framework, rivals in RIVALS.items():
            for name in (*rivals, STORE_ONE):
                others = SECOND if name == STORE_ONE else name
                lost = _lost(framework, (known[name], known[others]), pairs)
                rows.append([f"{framework}, {name}", *lost])
                if name == STORE_ONE:
                    for where, count in zip(("one worker", "two hosts"), lost, strict=True):
                        what = f"{framework}, lost of {pairs} pairs, {where}"
                        result.targets.append(Target(what, count, 0, unit=""))
    columns = ("", "one worker", "two hosts")
    result.tables.append(Table(f"Updates lost of {pairs} pairs", columns, rows))
    return result


def _lost(
    framework: str, environments: Sequence[Mapping[str, str]], pairs: int
) -> tuple[int, int]:
    """How many updates are lost on one worker, and on two hosts."""
    with ExitStack() as stack:
        ports = []
        for environment in environments:
            ports.append(free_port())
            run_it = command(framework, ports[-1], 1)
            stack.enter_context(server(run_it, ports[-1], environment))
        return _lost_of(pairs, ports[0], ports[0]), _lost_of(pairs, *ports)


def _lost_of(pairs: int, one: int, other: int) -> int:
    cookies = [ask(one, "/fill0")[0] for _ in range(pairs)]
    with ThreadPoolExecutor(2) as pool:
        for cookie in cookies:
            both = [
                pool.submit(ask, port, f"/{action}", cookie)
                for port, action in zip((one, other), BOTH.split(","), strict=True)
            ]
            for each in both:
                each.result()
    return max(_missing(port, cookies) for port in {one, other})


def _missing(port: int, cookies: Sequence[str]) -> int:
    """How many of the writes are not there, when all had the time to arrive."""
    left = list(cookies)

    def all_there() -> bool:
        left[:] = [cookie for cookie in left if ask(port, "/both", cookie)[1] != BOTH]
        return not left

    try:
        wait_until(all_there, "updates", ARRIVAL_S)
    except SystemExit:
        pass
    found = [ask(port, "/both", cookie)[1].split(",") for cookie in left]
    return sum(2 - len([name for name in names if name]) for names in found)
