"""Lost changes of collections: pairs of requests at one time that change one list, set and number.

    python -m benchmarks merging [--small] [--valkey]

Each request reads the session, takes its time, appends to its list, adds to its set and counts one
up. Both go to two threads of one worker, to two workers of one host, or to one host each. Of what
people use, two workers and two hosts are two servers with the same Redis; ours are peers. A set is
a list there, because JSON has none.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from benchmarks.http import ask
from benchmarks.nodes import joined_nodes
from benchmarks.pairs import ARRIVAL_S, ask_at_once, left_over, served
from benchmarks.result import Cell, Result, Table, Target
from benchmarks.store_pairs import AT_ONCE, BEGIN, KEPT, MERGING
from benchmarks.store_request import RIVALS, environments
from benchmarks.stores import store_server

PAIRS = 500
PLACES = {"one worker": (0, 0), "two workers": (0, 1), "two hosts": (0, 2)}
CHANGES = ("appends", "adds", "counts")
FIRST, SECOND = "first, ack one", "second, ack one"
PLAIN, OURS = "clustersession, plain types", "clustersession, types that merge"
Servers = Sequence[Mapping[str, str]]
"""The environments of two workers of a host, and of one of another host."""


def run(small: bool) -> Result:
    """One framework after the other."""
    pairs, frameworks = (10, ["ASGI"]) if small else (PAIRS, list(RIVALS))
    result = Result("Lost changes of collections")
    rows: list[list[Cell]] = []
    with ExitStack() as stack:
        store = stack.enter_context(store_server())
        nodes = stack.enter_context(joined_nodes(2, ack="one"))
        for node in nodes:
            node.replica.close()
        known = environments(store, dict(zip((FIRST, SECOND), nodes, strict=True)))
        ours = [known[FIRST], known[FIRST], known[SECOND]]
        for framework in frameworks:
            kinds: dict[str, Servers] = {name: [known[name]] * 3 for name in RIVALS[framework]}
            kinds[PLAIN] = ours
            kinds[OURS] = [{**environment, MERGING: "1"} for environment in ours]
            for name, servers in kinds.items():
                lost = _lost(framework, servers, pairs)
                rows.append([f"{framework}, {name}", *map(_told, lost.values())])
                if name == OURS:
                    result.targets += [
                        Target(f"{framework}, lost, {where}", sum(counts), 0, unit="")
                        for where, counts in lost.items()
                    ]
    title = f"Lost of {2 * pairs} appends, adds and counts, in {pairs} pairs"
    result.tables.append(Table(title, ("", *PLACES), rows))
    return result


def _told(counts: Sequence[int]) -> str:
    return ", ".join(map(str, counts))


def _lost(framework: str, servers: Servers, pairs: int) -> dict[str, list[int]]:
    """By place how many of each kind of change are lost."""
    with served(framework, servers) as ports:
        return {
            where: _lost_of(pairs, [ports[place] for place in places])
            for where, places in PLACES.items()
        }


def _lost_of(pairs: int, ports: Sequence[int]) -> list[int]:
    cookies = [ask(ports[0], BEGIN)[0] for _ in range(pairs)]
    whole = ",".join("2" for _ in CHANGES)
    if len(set(ports)) > 1 and left_over(ports[1], KEPT, cookies, whole.replace("2", "0")):
        raise RuntimeError("the sessions did not arrive")
    ask_at_once(ports, AT_ONCE, cookies)
    arrival_s = ARRIVAL_S if len(set(ports)) > 1 else 0.0
    found = [left_over(port, KEPT, cookies, whole, arrival_s) for port in set(ports)]
    return [
        max(sum(2 - int(kept.split(",")[place]) for kept in left) for left in found)
        for place in range(len(CHANGES))
    ]
