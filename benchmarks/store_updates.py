"""Lost updates: pairs of requests at one time that write different attributes of one session.

    python -m benchmarks store_updates [--small] [--valkey]

Each request reads the session, takes its time, and writes an attribute of its own. Both go to one
worker, or each to a host of its own; afterwards the session must have both. Of what people use, two
hosts are two servers with the same Redis.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from benchmarks.http import ask
from benchmarks.pairs import ask_at_once, left_over, served
from benchmarks.result import Cell, Result, Table, Target
from benchmarks.store_request import RIVALS, STORE_ONE, environments
from benchmarks.stores import store_nodes, store_server

PAIRS = 500
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
    with served(framework, environments) as (one, other):
        return _lost_of(pairs, one, one), _lost_of(pairs, one, other)


def _lost_of(pairs: int, one: int, other: int) -> int:
    cookies = [ask(one, "/fill0")[0] for _ in range(pairs)]
    ask_at_once((one, other), [f"/{action}" for action in BOTH.split(",")], cookies)
    return max(_missing(port, cookies) for port in {one, other})


def _missing(port: int, cookies: Sequence[str]) -> int:
    """How many of the writes are not there, when all had the time to arrive."""
    found = [written.split(",") for written in left_over(port, "/both", cookies, BOTH)]
    return sum(2 - len([name for name in names if name]) for names in found)
