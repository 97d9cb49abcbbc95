"""A worker process of a node: commits what it is told on its standard input, and says when.

Lines are JSON: ["set", key, value], ["end", key], ["get", key], and, without an agent, ["waits"].
The answer to the first two is whether it was confirmed, to the third one the value: null for a
session that is not there or ended; to the last one whether the journal is being read.
"""

import json
import sys

from clustersession.core.state import Change, Creation
from clustersession.settings.sources import load_settings
from clustersession.worker.completion import complete
from clustersession.worker.host_clock import kernel_ms
from clustersession.worker.local_only import LocalOnly
from clustersession.worker.open_nodes import OpenNode, open_nodes
from clustersession.worker.places import node_home

LIFE_MS = 86_400_000


def main() -> None:
    settings = complete(load_settings())
    node = open_nodes().find_or_open(settings, node_home(settings))
    print("true", flush=True)
    for line in sys.stdin:
        print(json.dumps(done(node, *json.loads(line))), flush=True)


def done(node: OpenNode, what: str, key: str = "", value: str = "") -> object:
    """Do what a line says."""
    now_ms = kernel_ms()
    if what == "waits":
        assert isinstance(node.cluster, LocalOnly)
        return node.cluster.journal is not None and node.cluster.journal.waits()
    if what == "get":
        node.cluster.fetch(key)
        state = node.replica.get(key)
        register = None if state is None else state.registers.get("value")
        return None if register is None or not register.value else register.value.decode()
    if what == "end":
        change = Change(key, now_ms, end="invalidated")
    else:
        creation = Creation(now_ms, now_ms + LIFE_MS, LIFE_MS)
        change = Change(key, now_ms, {"value": value.encode()}, creation=creation)
    committed = node.replica.commit([change], now_ms)
    return committed.effective and node.cluster.confirm(committed.head, ends=what == "end")


main()
