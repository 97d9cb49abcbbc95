"""What is recorded: one or more of everything that leaves a process or outlives it.

The same objects every time, so that what a later version makes of them can be compared with the
recording, byte by byte and by meaning. Append to these; what is changed needs a new recording.
"""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from markupsafe import Markup

from clustersession.core.feed import Batch, Cursor
from clustersession.core.identity import Address, Identity, Phase, first_incarnation
from clustersession.core.serving_view import View
from clustersession.core.state import Delta, Ended, Register, SessionState
from clustersession.wire import messages as m
from clustersession.wire.fields import Entry, Past
from clustersession.wire.local import Operation

WALL_MS = 1_800_000_000_000
HIGHEST = 2**63 - 1
NODE_A, NODE_B = b"node-aaa", bytes(range(248, 256))
A = Identity(NODE_A, first_incarnation(7), "tomcat1", Address("10.0.0.1", 4000))
B = Identity(NODE_B, first_incarnation(3) + 5, "app_2", Address("fd00::12", 65535))
KEY, OTHER_KEY = "kAAAAAAAAAAAAAAAAAAAAAB", "k-_-_-_-_-_-_-_-_-_-_-_"

SECRETS = ("the cluster's secret, thirty-two", "the one before it, also long enough")
CLUSTER_NAME = "shop ä"


def _state(**registers: Register) -> SessionState:
    versions = {NODE_A: 12, NODE_B: HIGHEST}
    return SessionState(WALL_MS, WALL_MS + 60_000, WALL_MS + 86_400_000, registers, versions)


STATE = _state(
    user=Register(WALL_MS << 16, NODE_A, 12, b"\xa3ann"),
    cart=Register((WALL_MS << 16) + 3, NODE_B, HIGHEST, b"\x92\xa3tea\xa4cake"),
    gone=Register(WALL_MS << 16, NODE_B, 1, None),
)
SYSTEM = SessionState(
    WALL_MS, WALL_MS, WALL_MS + 1,
    {
        "\x00idle_ms": Register(WALL_MS << 16, NODE_A, 1, b"\xce\x00\x1b\x77\x40"),
        "\x00principal": Register(WALL_MS << 16, NODE_A, 1, b"ann"),
        "größe": Register(0, NODE_A, 0, b""),
    },
    {NODE_A: 1},
)
ENDED = SessionState(
    WALL_MS, WALL_MS, WALL_MS + 5, {}, {NODE_B: 9}, Ended(WALL_MS << 16, NODE_A, "rotated")
)
EMPTY = SessionState(0, 0, HIGHEST)
STATES = {"full": STATE, "system": SYSTEM, "ended": ENDED, "empty": EMPTY}

BATCHES = {
    "complete": Batch(
        NODE_A, 3, 9, 12, 12,
        [Delta(KEY, STATE, False), Delta(OTHER_KEY, ENDED, True), Delta("k", SYSTEM, True)],
    ),
    "part": Batch(NODE_B, 0, 0, 3, 7, [Delta(KEY, STATE, True)]),
    "nothing": Batch(NODE_B, 0, 0, 0, 0, []),
}


@cache
def messages() -> dict[str, m.Message]:
    """Every kind of message. A function: one that lost its default must fail a test, not all."""
    return {
        "hello": m.Hello(m.PROTOCOL_VERSION, CLUSTER_NAME, A, m.PROTOCOL_VERSION_MIN),
        "hello by IPv6": m.Hello(m.PROTOCOL_VERSION, "", B, m.PROTOCOL_VERSION_MIN),
        "heartbeat": m.Heartbeat(
            A, 123_456, Phase.READY, True, WALL_MS, 12, 11, {NODE_B: Cursor(4, 5)}, (NODE_B,),
            ((NODE_B, B.incarnation),), (A.address, B.address), False,
        ),
        "heartbeat of one that takes direct changes": m.Heartbeat(
            A, 2, Phase.READY, True, WALL_MS, 12, 11, {}, (), (), (), False, True,
        ),
        "first heartbeat": m.Heartbeat(
            B, 0, Phase.JOINING, False, WALL_MS, 0, 0, {}, (), (), (), True,
        ),
        "draining heartbeat": m.Heartbeat(
            A, 1, Phase.DRAINING, True, 0, HIGHEST, 0, {}, (), (), (), False,
        ),
        "heartbeat after a power cut": m.Heartbeat(
            A, 1, Phase.READY, True, WALL_MS, 0, 0, {}, (), (), (), False, False,
            Past((NODE_B,), False, (NODE_A, NODE_B), (NODE_B,)),
        ),
        "goodbye": m.Heartbeat(A, 1, Phase.LEAVING, False, 0, 1, 1, {}, (), (), (), False),
        "changes": m.Changes(BATCHES["complete"], True),
        "no changes": m.Changes(BATCHES["nothing"], False, ()),
        "changes that one confirms": m.Changes(BATCHES["complete"], True, (NODE_B,)),
        "progress": m.Progress(Cursor(4, HIGHEST), False, False),
        "resume": m.Progress(Cursor(0, 0), True, True),
        "resume, with more known": m.Progress(Cursor(4, 4), True, False, HIGHEST),
        "fetch": m.Fetch(KEY),
        "fetch of a small one with more": m.Fetch(KEY, {NODE_A: 12, NODE_B: HIGHEST}, 12_288),
        "fetched": m.Fetched(KEY, STATE),
        "not fetched": m.Fetched(OTHER_KEY, None),
        "kept back": m.Fetched(OTHER_KEY, None, {NODE_A: 12}),
        "first page, please": m.SnapshotRequest(""),
        "next page, please": m.SnapshotRequest(KEY),
        "next page of ends, please": m.SnapshotRequest(KEY, True),
        "page of ends": m.SnapshotPageMessage(KEY, ((KEY, ENDED),), KEY, True, {}, 0, True),
        "page": m.SnapshotPageMessage(
            "", ((KEY, STATE), (OTHER_KEY, ENDED)), OTHER_KEY, False,
            {NODE_A: Cursor(12, 12), NODE_B: Cursor(4, 5)}, 1_000,
        ),
        "last page": m.SnapshotPageMessage(OTHER_KEY, (), OTHER_KEY, True, {}, 0),
        "root": m.Digests(2**64 - 1, b""),
        "digests": m.Digests(1, bytes(range(256))),
        "listing": m.Listing((0, 1023), (Entry(KEY, {NODE_A: 12, NODE_B: 1}, WALL_MS),), True),
        "empty listing": m.Listing((), (), False),
        "sessions, please": m.SessionsRequest((KEY, OTHER_KEY)),
        "sessions": m.Sessions(((KEY, STATE), (OTHER_KEY, EMPTY))),
        "ping": m.Ping(HIGHEST),
        "pong": m.Pong(0),
        "probe, please": m.ProbeRequest(NODE_B),
        "probed": m.ProbeReply(NODE_B, True),
        "not reached": m.ProbeReply(NODE_A, False),
        "direct change": m.DirectChange(BATCHES["complete"], 7),
        "taken": m.DirectAnswer(NODE_A, HIGHEST, True),
        "refused": m.DirectAnswer(NODE_B, 0, False),
    }


REQUESTS: dict[str, tuple[Operation, int, list[Any]]] = {
    "attach": (Operation.ATTACH, 1, [4711]),
    "moved": (Operation.FEED_MOVED, 0, [12]),
    "peers hold": (Operation.PEERS_HOLD, 0, [12]),
    "confirm": (Operation.CONFIRM, 2, [12, False, 1000, False]),
    "confirm all": (Operation.CONFIRM, 2**31, [HIGHEST, True, 250, True]),
    "fetch": (Operation.FETCH, 3, [KEY, []]),
    "fetch writes": (Operation.FETCH, 11, [KEY, [[NODE_A, 12], [NODE_B, HIGHEST]]]),
    "status": (Operation.STATUS, 4, []),
    "drain": (Operation.DRAIN, 5, []),
    "stop": (Operation.STOP, 6, []),
    "watch": (Operation.WATCH, 7, [KEY]),
    "unwatch": (Operation.UNWATCH, 0, [7]),
    "listen": (Operation.LISTEN, 8, [True, 4711]),
    "events": (Operation.EVENTS, 9, []),
    "locate": (Operation.LOCATE, 10, [KEY, 1000]),
    "gather": (Operation.GATHER, 14, [b"t" * 16]),
    "grant": (Operation.GRANT, 15, []),
    "dismiss": (Operation.DISMISS, 16, [[NODE_A]]),
    "report": (Operation.REPORT, 0, [{"commits": 3, "fetches": 1}]),
}

STATUS: dict[str, Any] = {
    "cluster_name": CLUSTER_NAME, "route": "tomcat1", "node": NODE_A.hex()[:8],
    "incarnation": A.incarnation, "address": "10.0.0.1:4000", "phase": "ready", "serving": True,
    "agent_pid": 815, "workers": [4711, 4712], "carrier": "tcp",
    "multicast": "228.0.0.4:45564 (works)", "seeds": [], "ack": "one", "local_health": 1,
    "sessions": 3, "tombstones": 1, "feed_head": 12, "feed_entries": 4, "replica_bytes": 32768,
    "members": [{
        "route": "app_2", "node": NODE_B.hex()[:8], "address": "[fd00::12]:65535",
        "status": "alive", "phase": "ready", "serving": True, "since_s": 1.5, "heard_s": 0.25,
        "uptime_s": 90, "clock_skew_ms": -3, "reason": "", "carrier": "tcp", "behind_us": 0,
        "we_are_behind": 2,
    }],
    "counters": {"gaps_repaired": 1},
}

ANSWERS: dict[str, tuple[int, Any]] = {
    "attached": (1, True), "confirmed by two": (2, 2), "nobody to ask": (2, 0),
    "too slow": (2, -1), "not found": (3, False), "line for the log": (0, ["warning", "größer"]),
    "status": (4, STATUS), "watched": (7, True),
    "event": (0, ["changed", KEY, None, ["cart"], None]),
}

VIEWS: dict[str, View] = {
    "two": View(frozenset({"tomcat1", "app_2"}), False),
    "draining": View(frozenset({"app_2"}), True),
    "nobody": View(frozenset(), False),
}

VALUES: list[Any] = [
    None, True, False, 0, -1, 2**64, -(10**30), 1.5, float("inf"), "", "größe", b"\x00\xff",
    [1, [2, "three"]], (1, ("two", b"3")), {"a": 1, 2: (3,), (4, 5): None}, {1, 2, "three"},
    frozenset({"x", 1.5}), datetime(2026, 2, 28, 23, 59, 59, 999_999),  # noqa: DTZ001
    datetime(2026, 7, 1, 12, 0, tzinfo=UTC), date(1999, 12, 31), time(23, 59, 1, 5),
    timedelta(days=-3, microseconds=7), Decimal("-12.3400"), Decimal("NaN"),
    UUID("12345678-1234-5678-1234-567812345678"), Markup("<b>bold</b>"),
    {"cart": [{"id": 7, "price": Decimal("9.90"), "tags": {"new"}}]},
]
