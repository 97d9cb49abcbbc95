"""Valid things of every kind, drawn from a seeded generator: what the mutations start from."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

from clustersession.core.digest import BUCKETS
from clustersession.core.feed import Batch, Cursor
from clustersession.core.identity import Address, Identity, Phase
from clustersession.core.state import IDLE_TIMEOUT, Delta, Ended, Register, SessionState
from clustersession.wire import messages as m
from clustersession.wire.fields import Entry

_KEY_CHARACTERS = "ABCXYZabcxyz0189-_"
_NODES = [bytes([number]) * 8 for number in range(1, 9)]
_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**62, 2**63 - 1)
NOW_MS = 1_800_000_000_000


def number(rng: Random) -> int:
    """A number of any size that a field can hold, the edges often."""
    if rng.random() < 0.4:
        return rng.choice(_NUMBERS)
    return rng.getrandbits(rng.randint(1, 63))


def node(rng: Random) -> bytes:
    """A node id, mostly one of a few."""
    return rng.choice(_NODES) if rng.random() < 0.8 else rng.randbytes(8)


def key(rng: Random) -> str:
    """A session key of the usual length, or of any."""
    length = 23 if rng.random() < 0.8 else rng.randint(1, 128)
    return "".join(rng.choices(_KEY_CHARACTERS, k=length))


def text(rng: Random, length_max: int = 12) -> str:
    """Any text without surrogates."""
    alphabet = "ab.\x00é漢😀 _1"
    return "".join(rng.choices(alphabet, k=rng.randint(0, length_max)))


def state(rng: Random) -> SessionState:
    """A session: alive or ended, small or with some dozens of attributes."""
    versions = {node(rng): number(rng) for _ in range(rng.randint(0, 4))}
    times = (number(rng), number(rng), number(rng))
    if rng.random() < 0.2:
        ended = Ended(number(rng), node(rng), rng.choice(("invalidated", "rotated", "")))
        return SessionState(*times, {}, versions, ended)
    count = rng.choice((0, 1, 2, 3, 4, 20))
    registers = {text(rng): _register(rng) for _ in range(count)}
    if rng.random() < 0.5:
        registers[IDLE_TIMEOUT] = Register(number(rng), node(rng), number(rng), b"1800000")
    return SessionState(*times, registers, versions)


def _register(rng: Random) -> Register:
    content = rng.randbytes(rng.choice((0, 1, 5, 40))) if rng.random() < 0.9 else None
    return Register(number(rng), node(rng), number(rng), content)


def delta(rng: Random) -> Delta:
    """One change of a session."""
    return Delta(key(rng), state(rng), rng.random() < 0.5)


def batch(rng: Random) -> Batch:
    """A part of a feed."""
    after, upto, head = sorted((number(rng), number(rng), number(rng)))
    deltas = [delta(rng) for _ in range(rng.randint(0, 3))]
    return Batch(node(rng), number(rng), after, upto, rng.choice((upto, head)), deltas)


def cursor(rng: Random) -> Cursor:
    """A place in a feed."""
    return Cursor(number(rng), number(rng))


def address(rng: Random) -> Address:
    """Where a node may listen."""
    host = rng.choice(("10.0.0.1", "127.0.0.1", "::1", "fe80::1", "2001:db8::7"))
    return Address(host, rng.randint(1, 65535))


def identity(rng: Random) -> Identity:
    """Who a node may be."""
    route = rng.choice(("tomcat1", "a", "Z_9", "x" * 32))
    return Identity(node(rng), number(rng), route, address(rng))


def cursors(rng: Random) -> dict[bytes, Cursor]:
    """Places in several feeds."""
    return {node(rng): cursor(rng) for _ in range(rng.randint(0, 5))}


def sessions(rng: Random) -> tuple[tuple[str, SessionState], ...]:
    """Whole copies."""
    return tuple((key(rng), state(rng)) for _ in range(rng.randint(0, 3)))


def _entries(rng: Random) -> tuple[Entry, ...]:
    return tuple(
        Entry(key(rng), {node(rng): number(rng) for _ in range(rng.randint(0, 3))}, number(rng))
        for _ in range(rng.randint(0, 4))
    )


def _flag(rng: Random) -> bool:
    return rng.random() < 0.5


def _heartbeat(rng: Random) -> m.Heartbeat:
    return m.Heartbeat(
        identity(rng), number(rng), rng.choice(list(Phase)), _flag(rng), number(rng), number(rng),
        number(rng), cursors(rng), tuple(node(rng) for _ in range(rng.randint(0, 4))),
        tuple((node(rng), number(rng)) for _ in range(rng.randint(0, 3))),
        tuple(address(rng) for _ in range(rng.randint(0, 3))), _flag(rng), _flag(rng),
    )


MESSAGES: dict[str, Callable[[Random], Any]] = {
    "Hello": lambda r: m.Hello(number(r), text(r), identity(r)),
    "Heartbeat": _heartbeat,
    "Changes": lambda r: m.Changes(batch(r), _flag(r)),
    "Progress": lambda r: m.Progress(cursor(r), _flag(r), _flag(r), number(r)),
    "Fetch": lambda r: m.Fetch(key(r), state(r).versions if _flag(r) else None, number(r)),
    "Fetched": lambda r: m.Fetched(
        key(r), state(r) if _flag(r) else None, state(r).versions if _flag(r) else None
    ),
    "SnapshotRequest": lambda r: m.SnapshotRequest(key(r) if _flag(r) else ""),
    "SnapshotPageMessage": lambda r: m.SnapshotPageMessage(
        key(r), sessions(r), key(r), _flag(r), cursors(r), number(r)
    ),
    "Digests": lambda r: m.Digests(
        r.getrandbits(64), r.choice((b"", bytes(8 * BUCKETS), r.randbytes(16)))
    ),
    "Listing": lambda r: m.Listing(
        tuple(r.randrange(BUCKETS) for _ in range(r.randint(0, 5))), _entries(r), _flag(r)
    ),
    "SessionsRequest": lambda r: m.SessionsRequest(
        tuple(key(r) for _ in range(r.randint(0, 4)))
    ),
    "Sessions": lambda r: m.Sessions(sessions(r)),
    "Ping": lambda r: m.Ping(number(r)),
    "Pong": lambda r: m.Pong(number(r)),
    "ProbeRequest": lambda r: m.ProbeRequest(node(r)),
    "ProbeReply": lambda r: m.ProbeReply(node(r), _flag(r)),
    "DirectChange": lambda r: m.DirectChange(batch(r), number(r)),
    "DirectAnswer": lambda r: m.DirectAnswer(node(r), number(r), _flag(r)),
}


def message(rng: Random) -> Any:
    """A message of any kind."""
    return rng.choice(_MAKERS)(rng)


_MAKERS = list(MESSAGES.values())


def value(rng: Random, depth: int = 0) -> object:
    """A session value of any type that one can have."""
    if depth < 4 and rng.random() < 0.5:
        return _container(rng, depth)
    return rng.choice(_SCALARS)(rng)


def _container(rng: Random, depth: int) -> object:
    items = [value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    kind = rng.randrange(5)
    if kind == 0:
        return items
    if kind == 1:
        return tuple(items)
    if kind == 2:
        return {text(rng): item for item in items}
    plain = [rng.choice(_SCALARS)(rng) for _ in range(3)]
    return set(plain) if kind == 3 else frozenset(plain)


_SCALARS: list[Callable[[Random], object]] = [
    lambda r: None,
    lambda r: _flag(r),
    lambda r: r.choice((1, -1)) * number(r),
    lambda r: r.getrandbits(200) - 2**199,
    lambda r: r.choice((0.0, -1.5, 1e300, float("inf"), float("-inf"))),
    lambda r: text(r, 40),
    lambda r: "\udc80" + text(r),
    lambda r: r.randbytes(r.randint(0, 20)),
    lambda r: Decimal(r.randint(-10**6, 10**6)) / 7,
    lambda r: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=r.randrange(10**9)),
    lambda r: datetime.fromisoformat("2000-01-01") + timedelta(microseconds=r.randrange(10**15)),
    lambda r: datetime(2000, 1, r.randint(1, 30), tzinfo=UTC).replace(tzinfo=None, fold=1),
    lambda r: date(r.randint(1, 9999), 1, 1),
    lambda r: time(r.randrange(24), fold=r.randrange(2)),
    lambda r: timedelta(r.randint(-999, 999), r.randrange(86400), r.randrange(10**6)),
    lambda r: UUID(int=r.getrandbits(128)),
]
