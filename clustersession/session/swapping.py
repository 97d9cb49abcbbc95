"""Sets an attribute if it still has the value that its caller believes.

The comparison is part of the commit: it is made with what is stored at that moment, whatever the
request has read, and no worker of the host can write in between. Hosts write side by side, so two
of them may both find the value that they expect; then the later write counts, as always.
"""

from datetime import timedelta
from typing import NamedTuple

from clustersession.core.conditions import ExpectedValue
from clustersession.core.expiring_values import expiring
from clustersession.core.state import Change, SessionState
from clustersession.replica.results import Committed
from clustersession.session.changes import check_attribute_size
from clustersession.session.expiry import until_ms
from clustersession.session.in_use import copy_in_use, present_copy, those_that_left
from clustersession.session.lifetimes import is_live
from clustersession.session.local_attributes import stays_here
from clustersession.session.stored import stored_values
from clustersession.session.visit import Visit, checked_name
from clustersession.session.writing import (
    check_size,
    finish,
    finish_async,
    lose,
    save,
    save_async,
)
from clustersession.wire.merging import MERGING
from clustersession.wire.values import encode_value


class Swap(NamedTuple):
    """Says what is to become of an attribute, by canonical bytes. expected None: it is not there.

    value: what ``stored`` encodes, as the application gave it. until_ms: until when it is to count;
    None: as long as the session.
    """

    name: str
    expected: bytes | None
    value: object
    stored: bytes
    until_ms: int | None


def swap_of(
    visit: Visit, name: str, old: object, new: object, expires_in: float | timedelta | None = None
) -> Swap:
    """Return the swap of a value for another one. Raises what a commit raises, and TypeError."""
    name = checked_name(name)
    for value in (old, new):
        if type(value) in MERGING:
            raise TypeError(
                f"swap takes plain values, not a {type(value).__name__}: its changes merge, and "
                "need no comparing"
            )
    stored, until = encode_value(new, name), None
    if expires_in is not None:
        until = until_ms(visit.context.now_ms(), expires_in, new)
        stored = expiring(stored, until)
    check_attribute_size(name, stored, visit.context.settings.attribute_bytes_max)
    expected = None if old is None else encode_value(old, name)
    return Swap(name, expected, new, stored, until)


def swap(visit: Visit, wanted: Swap) -> bool:
    """Commit the swap, and wait for peers as ``ack`` asks; False: it was something else, or gone.

    Raises what ``writing.save`` raises; then nothing was written, but for ReplicationFailed.
    """
    if not _is_stored(visit):
        if not swap_unstored(visit, wanted):
            return False
        save(visit)
        return visit.key is not None
    for key in those_that_left(visit):
        visit.context.cluster.fetch(key)
    committed = _commit(visit, wanted)
    if committed is None:
        return False
    finish(visit.context, _to_confirm(visit, committed))
    return True


async def swap_async(visit: Visit, wanted: Swap) -> bool:
    """Do what ``swap`` does, without blocking the event loop while peers confirm."""
    if not _is_stored(visit):
        if not swap_unstored(visit, wanted):
            return False
        await save_async(visit)
        return visit.key is not None
    for key in those_that_left(visit):
        await visit.context.cluster.fetch_async(key)
    committed = _commit(visit, wanted)
    if committed is None:
        return False
    await finish_async(visit.context, _to_confirm(visit, committed))
    return True


def _is_stored(visit: Visit) -> bool:
    return visit.key is not None and not visit.stands_for_record


def swap_unstored(visit: Visit, wanted: Swap) -> bool:
    """Set the value in a session that nobody else can have; False: it is something else there.

    So is one that was imported until the first write to it. Raises what a commit raises.
    """
    session, name = visit.session, wanted.name
    if visit.mute or visit.answered:
        return False
    value = session.get(name)
    if type(value) in MERGING:
        return False
    if (None if value is None else encode_value(value, name)) != wanted.expected:
        return False
    session[name] = wanted.value
    if wanted.until_ms is not None:
        visit.attributes.limit(name, wanted.until_ms)
        session._look_at_times()
    return True


def _commit(visit: Visit, wanted: Swap) -> Committed | None:
    """Commit the swap, and have the session hold what is stored, with unsaved changes on top.

    None: it had no effect.
    """
    context, key, before = visit.context, visit.key, visit.state
    if visit.mute:
        return None
    assert key is not None
    assert before is not None
    # What cannot be stored of the rest is said before anything is.
    visit.find_changes()
    now_ms, name = context.now_ms(), wanted.name
    sets: dict[str, bytes] = {name: wanted.stored}
    deletes: tuple[str, ...] = ()
    if context.local.any or visit.holds_local:
        sets, deletes = context.local.place(sets, deletes, before.registers)
    check_size(context, sets, stored_values(before), deletes)
    # The end of the request is an access, and records it.
    change = Change(
        key, before.accessed_ms, sets, deletes, held=copy_in_use(visit),
        condition=ExpectedValue(name, wanted.expected, now_ms),
    )
    committed = context.commits.commit([change], now_ms)
    state = None if committed is None else committed.states[0]
    if state is None:
        _take(visit, key, name, present_copy(visit), now_ms)
        return None
    visit.wrote = True
    visit.take_stored(name, state)
    return committed


def _take(visit: Visit, key: str, name: str, state: SessionState | None, now_ms: int) -> None:
    if state is None or not is_live(state, now_ms):
        visit.lose()
        lose(visit, key)
    else:
        visit.take_stored(name, state)


def _to_confirm(visit: Visit, committed: Committed) -> Committed | None:
    """Return what peers are to hold: nothing, when all that was written stays on this node."""
    (_, before, after), = committed.stored
    old = {} if before is None else before.registers
    written = [name for name, r in after.registers.items() if old.get(name) is not r]
    if not stays_here({}, written):
        return committed
    visit.context.commits.feed_moved(committed.head)
    return None


__all__ = ["Swap", "swap", "swap_async", "swap_of", "swap_unstored"]
