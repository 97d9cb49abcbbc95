"""Collections that merge, read from a copy, changed and stored again as requests do.

Some of their sessions have attributes whose time is limited, too.
"""

import logging
from random import Random
from typing import Any

from clustersession.core.counters import Counters
from clustersession.core.elements import (
    DICT,
    ELEMENT_PREFIX,
    LIST,
    SET,
    SUM,
    Addition,
    ElementWrites,
    Place,
    group_of,
)
from clustersession.core.errors import SessionTooLarge, UnserializableValue, WireError
from clustersession.core.expiring_values import LAST_MS, expiring
from clustersession.core.reclaiming import PLACE_MAX, untils, without_expired
from clustersession.core.state import (
    LOCAL_PREFIX,
    Change,
    Register,
    SessionState,
    apply_change,
    highest_time,
    merge,
)
from clustersession.session.attributes import AttributeTracker
from clustersession.session.merging import contents_of, kind_of
from clustersession.session.stored import stored_attributes
from clustersession.session.warnings import Warnings
from clustersession.settings.settings import Settings
from clustersession.wire.merging import Counter
from clustersession.wire.records import decode_state, encode_state
from clustersession.wire.values import encode_value
from tests.fuzzing import samples
from tests.fuzzing.target import Broken, Target

NODE = b"fuzznode"
NAMES = {"cart": LIST, "tags": SET, "notes": DICT, "hits": SUM}
ATTRIBUTE_BYTES_MAX = 2**20
NOW_MS = 2**40
UNTILS_MS = (0, NOW_MS, NOW_MS + 1, LAST_MS, 2**64 - 1)
TIME_MAX = 2**62
"""A replica refuses times that far ahead."""


def _state(rng: Random) -> SessionState:
    """A session with some collections, to which several nodes have written, and with forgeries."""
    registers: dict[str, Register] = {}
    seen: dict[str, Register] = {}
    for seq in range(1, rng.randint(2, 12)):
        name = rng.choice(list(NAMES))
        kind, node, time = NAMES[name], samples.node(rng), seq * 2**20
        group = group_of(kind, name)
        registers[name] = Register(time, node, seq, b"\xd4\x0d" + kind.encode())
        if rng.random() < 0.3 and seen:
            writes = ElementWrites(retired=dict(rng.sample(sorted(seen.items()), 1)))
        elif kind == SUM:
            writes = ElementWrites(increments={group: rng.choice((1, -1, 2**70))})
        else:
            place = rng.choice(list(Place))
            orders = [r.value[:20] for r in registers.values() if r.value]
            content = encode_value(rng.choice(("tea", 7, None, [1, {"a": 2}])))
            if kind == DICT:
                content = len(content).to_bytes(4, "big") + content * 2
            writes = ElementWrites((Addition(group, content, place, rng.choice(orders)),))
        writes.apply(registers, time=time, node=node, seq=seq)
        seen = {n: r for n, r in registers.items() if n.startswith(ELEMENT_PREFIX)}
    for _ in range(rng.choice((0, 0, 1, 3))):
        start = rng.choice((ELEMENT_PREFIX, LOCAL_PREFIX + ELEMENT_PREFIX))
        name = f"{start}{rng.choice(('l', 'd', 's', 'c', 'b', 'z', ''))}{samples.text(rng)}"
        value = rng.choice((None, b"", b"-", b"1" * 41, rng.randbytes(rng.randint(0, 60))))
        registers[name] = Register(rng.getrandbits(40), samples.node(rng), 1, value)
    for name in ("otp", "lock")[: rng.choice((0, 0, 1, 2))]:
        value = expiring(encode_value(rng.choice(("123456", None, [1]))), rng.choice(UNTILS_MS))
        seq = rng.choice((1, 2**40, PLACE_MAX))
        registers[name] = Register(rng.getrandbits(40), samples.node(rng), seq, value)
    return SessionState(1, 1, 2**40, registers, {samples.node(rng): 9})


class _Request:
    """One request that has a session open."""

    def __init__(self, state: SessionState) -> None:
        self.state = state
        self.values: dict[str, Any] = {}
        self.tracker = AttributeTracker(
            ATTRIBUTE_BYTES_MAX, Warnings(Settings(), Counters(), lambda: 0)
        )
        self.tracker.take(self.values, "key", stored_attributes(state))
        self.tracker.load_all(self.values)

    @property
    def collections(self) -> dict[str, Any]:
        """What it holds of collections."""
        return {name: value for name, value in self.values.items() if kind_of(value)}

    def commit(self) -> SessionState | None:
        """Store what it has changed; None when that is refused, or the session has ended."""
        try:
            changes = self.tracker.find_changes(self.values, True)
        except (UnserializableValue, SessionTooLarge):
            return None
        change = Change("key", 0, changes.sets, changes.deletes, elements=changes.elements)
        time = highest_time(self.state) + 1
        after = apply_change(self.state, change, time=time, node=NODE, seq=1)
        if after is None or after.ended is not None:
            return None
        if decode_state(encode_state(after)) != after:
            raise Broken(f"not what was stored: {after!r:.300}")
        self.tracker.saved(self.values, "key", changes, stored_attributes(after, self.state))
        self.state = after
        return after


def _check(data: bytes) -> bool:
    """What a request adds is there for the next one, and nothing is that it has cleared."""
    try:
        state = decode_state(data)
    except WireError:
        return False
    _check_reclaimed(state)
    if highest_time(state) > TIME_MAX:
        return True
    request = _Request(state)
    for name, value in request.collections.items():
        _add(request.values, name, value)
    if (after := request.commit()) is not None:
        _compare(request, _Request(after))
    for name, value in request.collections.items():
        if isinstance(value, Counter):
            request.values[name] = Counter()
        else:
            value.clear()
    if (after := request.commit()) is not None and any(_Request(after).collections.values()):
        raise Broken(f"what was cleared is there again: {_Request(after).collections!r:.300}")
    return True


def _check_reclaimed(state: SessionState) -> None:
    """What is over is gone for good, and the copy can be stored and joined with any other."""
    if state.ended is not None:
        return
    reclaimed = without_expired(state, NOW_MS)
    if min(untils(reclaimed).values(), default=LAST_MS) <= NOW_MS:
        raise Broken(f"still there: {reclaimed!r:.300}")
    if decode_state(encode_state(reclaimed)) != reclaimed:
        raise Broken(f"not what was stored: {reclaimed!r:.300}")
    if any(state.registers[name].seq == PLACE_MAX for name in untils(state)):
        return
    if merge(state, reclaimed) != reclaimed or merge(reclaimed, state) != reclaimed:
        raise Broken(f"what is over comes back: {state!r:.300}")


def _add(values: dict[str, Any], name: str, value: Any) -> None:
    match kind_of(value):
        case "l":
            value.insert(len(value) // 2, "inserted")
            value.append("appended")
        case "d":
            value["added"] = True
        case "s":
            value.add("added")
        case _:
            values[name] = value + 1


def _compare(writer: _Request, reader: _Request) -> None:
    for name, value in writer.collections.items():
        found = reader.values.get(name)
        if kind_of(found) != kind_of(value):
            raise Broken(f"{name!r} was {value!r:.300} and is {found!r:.300}")
        if isinstance(value, Counter):
            alike = value == found
        else:
            alike = sorted(contents_of(value, "")) == sorted(contents_of(found, ""))
        if not alike:
            raise Broken(f"{name!r} was {value!r:.300} and is {found!r:.300}")


def _check_quietly(data: bytes) -> bool:
    # What cannot be read is logged, by design once for each name.
    logger = logging.getLogger("clustersession")
    disabled, logger.disabled = logger.disabled, True
    try:
        return _check(data)
    finally:
        logger.disabled = disabled


def targets() -> list[Target]:
    """The one of this module."""
    return [
        Target(
            "session.collections", lambda rng: encode_state(_state(rng)), _check_quietly, share=0.2
        )
    ]
