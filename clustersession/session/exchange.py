"""The exchange of an imported record for a session of ours, see ``session.legacy``."""

from typing import TYPE_CHECKING

from clustersession.core.ids import KEY_LENGTH
from clustersession.core.state import (
    ENDED_INVALIDATED,
    ENDED_ROTATED,
    IDLE_TIMEOUT,
    Change,
    Creation,
    expires_ms,
)
from clustersession.session.changes import Changes
from clustersession.session.registers import is_live, stored_values, with_system
from clustersession.session.session import SOURCE, Session

if TYPE_CHECKING:
    from clustersession.session.commits import SessionWriter


def exchange(writer: "SessionWriter", session: Session, changes: Changes, now_ms: int) -> int:
    """Make an imported record a session of ours, or join the one that it has become.

    What remained of its life in the old store is kept where that is more than ours have. Returns
    the feed head to confirm, 0 for nothing to wait for.
    """
    record_key, identifier = session.key, session.sid
    assert record_key is not None
    assert identifier is not None
    settings, new_key = writer.settings, identifier[:KEY_LENGTH]
    record, joined = writer.replica.get(record_key), writer.replica.get(new_key)
    sets, deletes = with_system(session, changes)
    creation = None
    if not is_live(joined, now_ms):
        if record is None or not is_live(record, now_ms) or joined is not None:
            writer.lose(session, record_key)
            return 0
        sets = {n: d for n, d in {**stored_values(record), **sets}.items() if n not in deletes}
        sets.pop(SOURCE, None)
        own = IDLE_TIMEOUT in session.system
        idle, deletes = sets.pop(IDLE_TIMEOUT, b"0"), ()
        left_ms = min(expires_ms(record) - now_ms, round(1000 * settings.longest_life_s))
        permanent_s = writer.idle_timeout_s_for(session.stored_permanent)
        idle_ms = int(idle) if own else permanent_s and max(left_ms, round(permanent_s * 1000))
        deadline_ms = max(writer.deadline_ms(sets, now_ms), now_ms + left_ms)
        creation = Creation(now_ms, deadline_ms, int(idle_ms))
    if writer.local.any:
        held = {} if joined is None else joined.registers
        sets, deletes = writer.local.place(sets, deletes, held)
    writer.check_size(sets, {} if joined is None else stored_values(joined), deletes)
    committed = writer.commit(
        [
            Change(new_key, now_ms, sets, deletes, creation=creation),
            Change(record_key, now_ms, end=ENDED_ROTATED),
        ],
        now_ms,
    )
    if committed is None:
        # The old cookie is good as long as it is not exchanged.
        session.discarded = True
        return 0
    state, ended = committed.states
    if ended is None:
        now_there = writer.replica.get(record_key)
        if now_there is None or now_there.ended is None or (
            now_there.ended.reason != ENDED_ROTATED
        ):
            # A logout in between. It wins.
            writer.commit([Change(new_key, now_ms, end=ENDED_INVALIDATED)], now_ms)
            state = None
    if state is None:
        writer.lose(session, record_key)
        return 0
    session.committed(identifier, new_key, state, changes)
    return committed.head
