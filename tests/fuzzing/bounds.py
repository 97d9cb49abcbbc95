"""What an engine may keep in memory, part by part, whatever its peers say."""

import gc
from types import FunctionType, MethodType, ModuleType

from clustersession.core.membership import ABSENT_MAX
from clustersession.core.progress import WINDOW_BATCHES
from clustersession.node.confirmations import WAITERS_MAX
from clustersession.node.dialing import ADDRESSES_MAX
from clustersession.node.engine import Engine
from clustersession.node.lookup import LOOKUPS_MAX
from clustersession.node.puller import PENDING_MAX
from clustersession.node.receiver import LATER_MAX
from clustersession.wire.fields import NODES_MAX
from clustersession.wire.records import DELTAS_MAX

MEMBERS_KEPT_MAX = ABSENT_MAX + 256
WANTED_MAX = PENDING_MAX + DELTAS_MAX
OBJECTS_MAX = 40_000
"""What can be reached from an engine besides its replica and what is bounded apart.

Some hundred where nobody attacks.
"""


def check_bounds(engine: Engine) -> None:
    """Raises AssertionError, naming the part that keeps too much."""
    context = engine.context
    members = len(list(engine.membership))
    peers = len(context.peers)
    sizes = {
        "members": (members, MEMBERS_KEPT_MAX),
        "cursors": (len(context.cursors), NODES_MAX),
        "effects": (len(context.effects), 0),
        "attempts": (len(engine.dialer._attempts), ADDRESSES_MAX + members),
        "answered by": (len(engine.dialer._answered_by), ADDRESSES_MAX),
        "own addresses": (len(engine.dialer._own), ADDRESSES_MAX),
        "requesters": (len(engine.prober._requesters), members),
        "waiters": (len(engine.confirmations._waiters), WAITERS_MAX),
        "given up": (len(engine.confirmations._given_up), members),
        "lookups": (len(engine.lookup._lookups), LOOKUPS_MAX),
        "pulls": (len(engine.puller._wanted), peers),
        "held": (len(engine.receiver._held), peers),
        "bases": (len(engine.receiver._bases), peers),
        "heads": (len(engine.joiner._heads), peers),
        "inherited": (len(engine.snapshots._inherited), NODES_MAX),
        "extra heartbeats": (len(engine.heartbeat._extra_s), 2000),
    }
    for node, wanted in engine.puller._wanted.items():
        sizes[f"wanted of {node.hex()}"] = (len(wanted.keys), WANTED_MAX)
    for node, held in engine.receiver._held.items():
        sizes[f"held behind {node.hex()}"] = (len(held.later), LATER_MAX)
    for peer in context.peers.values():
        in_flight = len(peer.progress._in_flight)
        sizes[f"in flight to {peer.node.hex()}"] = (in_flight, WINDOW_BATCHES)
    too_much = {name: size for name, size in sizes.items() if size[0] > size[1]}
    assert not too_much, f"kept and allowed: {too_much}"
    objects = reachable(engine)
    assert objects <= OBJECTS_MAX, f"{objects} objects are kept"


def reachable(engine: Engine) -> int:
    """How many objects an engine holds on to, in its smaller tables."""
    apart = (
        engine.context.replica, engine.context.settings, engine.puller._wanted,
        engine.receiver._held,
    )
    seen = set(map(id, apart))
    waiting: list[object] = [engine]
    while waiting:
        current = waiting.pop()
        if id(current) in seen or isinstance(current, type | ModuleType | FunctionType):
            continue
        seen.add(id(current))
        if isinstance(current, MethodType):
            waiting.append(current.__self__)
        else:
            waiting.extend(gc.get_referents(current))
    return len(seen)
