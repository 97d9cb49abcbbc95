"""Turns what a request did to its session into commits: a new one, changes, a new id, an access."""

import logging
from collections.abc import Mapping

from clustersession.core.clock import next_time
from clustersession.core.elements import (
    SUM,
    ElementWrites,
    counted,
    element_name,
    seen_sum_name,
)
from clustersession.core.errors import SessionError, SessionTooLarge, TooManySessions
from clustersession.core.ids import KEY_LENGTH, log_name
from clustersession.core.reclaiming import without_expired
from clustersession.core.state import (
    ENDED_INVALIDATED,
    ENDED_LIMIT,
    ENDED_REPLACED,
    ENDED_ROTATED,
    IDLE_TIMEOUT,
    LIFETIME,
    LOGIN,
    PRINCIPAL,
    Change,
    Creation,
    SessionState,
    encode_ms,
    expires_ms,
    highest_time,
    login_time,
)
from clustersession.replica.results import Committed
from clustersession.session.changes import NO_CHANGES, AttributeChanges
from clustersession.session.context import SessionContext
from clustersession.session.in_use import copy_in_use, present_copy, those_that_left
from clustersession.session.lifetimes import PERMANENT, access_is_stale, is_live, is_permanent
from clustersession.session.local_attributes import stays_here
from clustersession.session.stored import StoredAttributes, follow, stored_values
from clustersession.session.token import RANDOM_BYTES
from clustersession.session.visit import NO_ENDINGS, SOURCE, NewId, Visit

_log = logging.getLogger("clustersession")


def save(visit: Visit) -> None:
    """Write what changed, wait for peers as ``ack`` asks, and tell the application's callbacks.

    Raises UnserializableValue, SessionTooLarge, TooManySessions, and ReplicationFailed if so
    configured.
    """
    context = visit.context
    for key in those_that_left(visit):
        context.cluster.fetch(key)
    user = limited_user(visit)
    if user is not None:
        context.cluster.gather(user)
    finish(context, write(visit))


async def save_async(visit: Visit) -> None:
    """Do what ``save`` does, without blocking the event loop while peers confirm."""
    context = visit.context
    for key in those_that_left(visit):
        await context.cluster.fetch_async(key)
    user = limited_user(visit)
    if user is not None:
        await context.cluster.gather_async(user)
    await finish_async(context, write(visit))


def finish(context: SessionContext, committed: Committed | None) -> None:
    """Wait for peers to hold a commit, None for nothing, and tell the application's callbacks.

    Raises ReplicationFailed if so configured.
    """
    try:
        if committed:
            context.commits.confirm(committed)
    finally:
        if context.events.pending:
            context.events.deliver()


async def finish_async(context: SessionContext, committed: Committed | None) -> None:
    """Do what ``finish`` does, without blocking the event loop while peers confirm."""
    try:
        if committed:
            await context.commits.confirm_async(committed)
    finally:
        if context.events.pending:
            await context.events.deliver_async()


def asks_nobody(visit: Visit) -> bool:
    """Tell whether ``save`` does without anybody's answer, if ``ack`` waits for none.

    For an end it waits all the same, for the disk and for peers; at a login, and for what has left
    this host, it asks before it writes.
    """
    return not (visit.system or visit.endings or visit.new_id) and not those_that_left(visit)


def write(visit: Visit) -> Committed | None:
    """Commit what changed; returns what is to be confirmed, None for nothing to wait for.

    Raises UnserializableValue or SessionTooLarge; then nothing was written, and nothing of this
    session will be: the error page that follows must not fail on the same value again.
    """
    context = visit.context
    now_ms = context.now_ms()
    if context.commits.owed_ends:
        context.commits.store_owed_ends(now_ms)
    if visit.clears_at_login and visit.removed and dict.__len__(visit.session):
        visit.outdated = False
    if visit.mute:
        if visit.outdated and visit.touched:
            old_key = visit.client[0][:KEY_LENGTH] if visit.client else visit.legacy
            _count_lost(context, old_key)
        return None
    if not visit.touched:
        touch(visit, now_ms)
        return None
    try:
        changes = visit.find_changes()
        if visit.key is None:
            return _create(visit, changes, now_ms)
        if visit.system and visit.new_id is None and _outgrows(visit):
            visit.new_id = NewId.ROTATION
        if visit.new_id is not None and not visit.answered:
            move = _exchange if visit.new_id is NewId.EXCHANGE else _rotate
            return move(visit, changes, now_ms)
        if visit.new_id is not None:
            _log.warning("session.rotate() came after the response had started: no new id")
        if changes is NO_CHANGES and not visit.system:
            touch(visit, now_ms)
            return None
        return _update(visit, changes, now_ms)
    except SessionError:
        visit.discarded = True
        raise


def _outgrows(visit: Visit) -> bool:
    """Tell whether the session needs a new id to live longer than an anonymous one.

    Where no new id can reach the client, because the headers are out, it keeps its deadline.
    """
    state = visit.state
    if visit.answered or visit.keeps_id:
        return False
    if state is None or visit.stands_for_record:
        return False
    return visit.context.lifetimes.outgrows(state, visit.writes(NO_CHANGES)[0])


def touch(visit: Visit, now_ms: int) -> None:
    """Record the access if the recorded one is too old; nobody waits for it."""
    state, key, context = visit.state, visit.key, visit.context
    if state is None or key is None:
        return
    stale = access_is_stale(state, now_ms)
    lifetimes = context.lifetimes
    refresh = (
        lifetimes.sliding
        and not visit.answered
        and lifetimes.renewal_is_due(state, state.accessed_ms, now_ms)
    )
    if not stale and not refresh:
        return
    committed = context.commits.commit([Change(key, now_ms)], now_ms)
    if committed is None:
        return
    newer = committed.states[0]
    if newer is None:
        visit.discarded = not is_live(present_copy(visit), now_ms)
        return
    context.counters.touches += 1
    visit.replace_state(newer)
    visit.refresh |= refresh
    context.commits.feed_moved(committed.head)


def _create(visit: Visit, changes: AttributeChanges, now_ms: int) -> Committed | None:
    """Store a session for the first time; what holds nothing is not stored."""
    context, commits = visit.context, visit.context.commits
    system = {name: data for name, data in visit.system.items() if data is not None}
    if not _is_worth_storing(visit, changes):
        ends = _endings(visit, now_ms)
        if ends and (committed := commits.commit(ends, now_ms)) is not None:
            visit.endings = NO_ENDINGS
            return committed if committed.effective else None
        return None
    ends = _endings(visit, now_ms, ENDED_INVALIDATED if visit.answered else ENDED_REPLACED)
    creation = _creation(visit, changes, system, now_ms)
    system.pop(IDLE_TIMEOUT, None)
    sets = {**changes.sets, **system}
    ends += _over_limit(visit, now_ms)
    if context.local.any:
        sets, _ = context.local.place(sets, (), {})
    elements = context.local.place_elements(changes.elements)
    check_size(context, sets, {}, (), elements)
    identifier, key = _mint(context)
    change = Change(key, now_ms, sets, creation=creation, elements=elements)
    committed = commits.commit([*ends, change], now_ms)
    if committed is None:
        # There is no cookie to send; once the response has gone, there never will be.
        visit.discarded = True
        return None
    state = committed.states[-1]
    visit.endings = NO_ENDINGS
    if state is None:
        visit.discarded = True
        context.warnings.refused_new_session()
        return committed if committed.effective else None
    visit.committed(identifier, key, state, changes)
    return committed


def _creation(
    visit: Visit, changes: AttributeChanges, system: dict[str, bytes], now_ms: int
) -> Creation:
    lifetimes, settings = visit.context.lifetimes, visit.context.settings
    permanent = PERMANENT in changes.sets and bool(visit.session.get(PERMANENT))
    own = system.get(IDLE_TIMEOUT)
    idle_ms = int(own) if own else round(lifetimes.idle_timeout_s(permanent) * 1000)
    values = {**_claims(visit, system), IDLE_TIMEOUT: encode_ms(idle_ms)}
    return Creation(
        now_ms, lifetimes.first_deadline_ms(values, now_ms), idle_ms,
        0 if PRINCIPAL in values else settings.new_sessions_per_second_max,
    )


def _claims(visit: Visit, values: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return what speaks for a longer life: a principal that is still to come counts as one."""
    return {**values, PRINCIPAL: b""} if visit.logs_in else values


def _is_worth_storing(visit: Visit, changes: AttributeChanges) -> bool:
    holds_something = (
        visit.wanted
        or any(name != PERMANENT for name in changes.sets)
        or visit.says_something
    )
    if holds_something and visit.answered:
        visit.context.counters.late_new_sessions += 1
        _log.warning(
            "a new session was begun after the response had started; no cookie could be sent, "
            "so it is not stored"
        )
        return False
    return holds_something


def _update(visit: Visit, changes: AttributeChanges, now_ms: int) -> Committed | None:
    """Store changes of a session that keeps its id."""
    context, key, identifier = visit.context, visit.key, visit.identifier
    before, stored = visit.state, visit.stored
    assert key is not None
    assert identifier is not None
    assert before is not None
    assert stored is not None
    sets, deletes = visit.writes(changes) if visit.system else (changes.sets, changes.deletes)
    local = context.local.any or visit.holds_local
    if local:
        sets, deletes = context.local.place(sets, deletes, before.registers)
    elements = context.local.place_elements(changes.elements)
    if _size_at_most(stored, sets, elements) > context.settings.session_bytes_max:
        check_size(context, dict(sets), stored_values(before), deletes, elements)
    ends: list[Change] = []
    if visit.endings or visit.system:
        ends = _endings(visit, now_ms) + _over_limit(visit, now_ms)
    change = Change(key, now_ms, sets, deletes, held=copy_in_use(visit), elements=elements)
    committed = context.commits.commit([*ends, change], now_ms)
    if committed is None:
        return None
    if (state := committed.states[-1]) is None:
        lose(visit, key)
        return None
    visit.endings = NO_ENDINGS
    if not local and not visit.system and committed.stored[-1][1] is before:
        follow(stored, before, state, changes)
    visit.committed(identifier, key, state, changes)
    if PERMANENT in sets or PERMANENT in deletes or IDLE_TIMEOUT in sets:
        visit.refresh = True
    elif context.lifetimes.cookies_have_lifetime or (
        visit.stored is not None and visit.stored.outlives_browser
    ):
        # Of the copy that is stored now: another request may have made it permanent.
        visit.refresh |= context.lifetimes.renewal_is_due(state, before.accessed_ms, now_ms)
    if local and not ends and stays_here(sets, deletes) and not changes.elements:
        context.commits.feed_moved(committed.head)
        return None
    return committed


def _size_at_most(
    stored: StoredAttributes, sets: Mapping[str, bytes], elements: ElementWrites | None
) -> int:
    """Bound what a session takes; replaced values count too. Most are far below the limit."""
    at_most = stored.data_bytes + _bytes_of(elements)
    for name, data in sets.items():
        at_most += len(name) + len(data)
    return at_most


def _rotate(visit: Visit, changes: AttributeChanges, now_ms: int) -> Committed | None:
    """Move to a new id. Creation time and deadline stay: rotating extends no session's life.

    But for an anonymous one that has become a user's: it lives as if it had always been one.
    """
    context, key = visit.context, visit.key
    assert key is not None
    # Read again: what other requests wrote since this one began must move too.
    current = present_copy(visit)
    if visit.stands_for_record and visit.identifier and not is_live(current, now_ms):
        # Another request with the same old cookie came first.
        key = visit.identifier[:KEY_LENGTH]
        current = context.replica.get(key)
    if current is None or not is_live(current, now_ms):
        lose(visit, key)
        return None
    sets, creation = _moved(visit, changes, current, now_ms)
    ends = _over_limit(visit, now_ms)
    check_size(context, sets, {}, ())
    identifier, new_key = _mint(context)
    committed = context.commits.commit(
        [
            Change(new_key, now_ms, sets, creation=creation),
            Change(key, now_ms, end=ENDED_ROTATED, held=current),
            *ends,
        ],
        now_ms,
    )
    if committed is None:
        # Written later, when there is room, the login would come under the old id.
        visit.discarded = True
        return None
    state, ended = committed.states[:2]
    if ended is None or state is None:
        # Another process ended the session after we read it. Logout wins.
        context.commits.commit([Change(new_key, now_ms, end=ENDED_INVALIDATED)], now_ms)
        lose(visit, key)
        return None
    visit.committed(identifier, new_key, state, changes)
    return committed


def _moved(
    visit: Visit, changes: AttributeChanges, current: SessionState, now_ms: int
) -> tuple[dict[str, bytes], Creation]:
    """Work out what a session holds under its new id, and how long it lives."""
    context = visit.context
    changed, deletes = visit.writes(changes)
    if context.local.any or visit.holds_local:
        changed, deletes = context.local.place(changed, deletes, current.registers)
    sets = {**_moved_values(visit, changes, current, now_ms), **changed}
    for name in deletes:
        sets.pop(name, None)
    if PRINCIPAL in sets and PRINCIPAL not in changed:
        sets[LOGIN] = encode_ms(login_time(current))
    idle = sets.pop(IDLE_TIMEOUT, None)
    deadline_ms = current.deadline_ms
    if LIFETIME in changed:
        deadline_ms = context.lifetimes.deadline_ms(changed, now_ms)
    elif not visit.stands_for_record and context.lifetimes.outgrows(
        current, _claims(visit, changed)
    ):
        deadline_ms = context.lifetimes.deadline_ms({}, current.created_ms)
    return sets, Creation(current.created_ms, deadline_ms, int(idle) if idle else 0)


def _moved_values(
    visit: Visit, changes: AttributeChanges, current: SessionState, now_ms: int
) -> dict[str, bytes]:
    """Return the registers that a session takes along, with what the request does to elements.

    What was seen of a counter's sums stays behind with what was taken off them.
    """
    current = without_expired(current, now_ms)
    registers = dict(current.registers)
    elements = visit.context.local.place_elements(changes.elements)
    if elements:
        time = next_time(highest_time(current), now_ms)
        elements.apply(registers, time=time, node=visit.context.replica.node, seq=0)
    values = {name: r.value for name, r in registers.items() if r.value is not None}
    for name in registers:
        known = element_name(name) if name in values else None
        if known is not None and known.kind == SUM and seen_sum_name(name) in values:
            values[name] = b"%d" % counted(registers, name)
            del values[seen_sum_name(name)]
    return values


def _exchange(visit: Visit, changes: AttributeChanges, now_ms: int) -> Committed | None:
    """Make an imported record a session of ours, or join the one that it has become.

    See ``session.legacy``.
    """
    context, record_key, identifier = visit.context, visit.key, visit.identifier
    assert record_key is not None
    assert identifier is not None
    new_key = identifier[:KEY_LENGTH]
    record, joined = context.replica.get(record_key), context.replica.get(new_key)
    sets, deletes = visit.writes(changes)
    creation = None
    if not is_live(joined, now_ms):
        if record is None or not is_live(record, now_ms) or joined is not None:
            lose(visit, record_key)
            return None
        sets = {n: d for n, d in {**stored_values(record), **sets}.items() if n not in deletes}
        creation, deletes = _life_of_record(visit, record, sets, now_ms), ()
    if context.local.any:
        registers = {} if joined is None else joined.registers
        sets, deletes = context.local.place(sets, deletes, registers)
    elements = context.local.place_elements(changes.elements)
    check_size(context, sets, {} if joined is None else stored_values(joined), deletes, elements)
    held = Change(new_key, now_ms, sets, deletes, creation=creation, elements=elements)
    left = Change(record_key, now_ms, end=ENDED_ROTATED)
    committed = context.commits.commit([held, left], now_ms)
    if committed is None:
        # The old cookie is good as long as it is not exchanged.
        visit.discarded = True
        return None
    state, ended = committed.states
    if ended is None and not _was_exchanged(context, record_key):
        # Somebody logged out in between, and a logout wins.
        context.commits.commit([Change(new_key, now_ms, end=ENDED_INVALIDATED)], now_ms)
        state = None
    if state is None:
        lose(visit, record_key)
        return None
    visit.committed(identifier, new_key, state, changes)
    return committed


def _life_of_record(
    visit: Visit, record: SessionState, sets: dict[str, bytes], now_ms: int
) -> Creation:
    """Work out how long a session lives that was a record; takes that out of ``sets``.

    What remained of its life in the old store is kept where that is more than ours have.
    """
    context, lifetimes = visit.context, visit.context.lifetimes
    sets.pop(SOURCE, None)
    idle = sets.pop(IDLE_TIMEOUT, b"0")
    left_ms = min(expires_ms(record) - now_ms, round(1000 * context.settings.longest_life_s))
    if IDLE_TIMEOUT in visit.system:
        idle_ms = int(idle)
    else:
        state = visit.state
        permanent_s = lifetimes.idle_timeout_s(state is not None and is_permanent(state))
        idle_ms = max(left_ms, round(permanent_s * 1000)) if permanent_s else 0
    deadline_ms = max(lifetimes.deadline_ms(sets, now_ms), now_ms + left_ms)
    return Creation(now_ms, deadline_ms, idle_ms)


def _was_exchanged(context: SessionContext, record_key: str) -> bool:
    record = context.replica.get(record_key)
    return record is not None and record.ended is not None and (
        record.ended.reason == ENDED_ROTATED
    )


def _endings(visit: Visit, now_ms: int, reason: str = ENDED_INVALIDATED) -> list[Change]:
    leave = visit.context.sessions_leave
    return [
        Change(key, now_ms, end=reason, held=held if leave else None)
        for key, held in visit.endings.items()
    ]


def limited_user(visit: Visit) -> str | None:
    """Return the user who logs in and may have so many sessions only; all of them are counted."""
    principal = visit.system.get(PRINCIPAL)
    if principal is None or visit.mute or not visit.context.settings.sessions_per_principal_max:
        return None
    return principal.decode("utf-8", "replace")


def _over_limit(visit: Visit, now_ms: int) -> list[Change]:
    """End the oldest logins when one is beyond the user's limit. Raises TooManySessions.

    Judged by what this node knows: logins at the same moment may all pass, and the next one
    ends what is too many.
    """
    settings, user = visit.context.settings, limited_user(visit)
    limit = settings.sessions_per_principal_max
    if user is None:
        return []
    others = [
        (login_time(state), key)
        for key, state in visit.context.replica.sessions_of(user)
        if key != visit.key and key not in visit.endings and is_live(state, now_ms)
    ]
    surplus = len(others) + 1 - limit
    if surplus <= 0:
        return []
    if settings.sessions_per_principal_policy == "refuse":
        raise TooManySessions(
            f"the user has {len(others)} sessions; sessions_per_principal_max is {limit}"
        )
    return [Change(key, now_ms, end=ENDED_LIMIT) for _, key in sorted(others)[:surplus]]


def _mint(context: SessionContext) -> tuple[str, str]:
    identifier = context.signer.mint(context.random_bytes(RANDOM_BYTES))
    return identifier, identifier[:KEY_LENGTH]


def lose(visit: Visit, key: str) -> None:
    """Count that the session ended under a request; it writes nothing more."""
    visit.discarded = True
    _count_lost(visit.context, key)


def _count_lost(context: SessionContext, key: str) -> None:
    context.counters.lost_writes += 1
    _log.info("session %s ended during a request that wrote to it; dropped", log_name(key))


def _bytes_of(elements: ElementWrites | None) -> int:
    if elements is None:
        return 0
    return sum(len(added.group) + len(added.content) for added in elements.additions)


def check_size(
    context: SessionContext,
    sets: dict[str, bytes],
    stored: dict[str, bytes],
    deletes: tuple[str, ...],
    elements: ElementWrites | None = None,
) -> None:
    """Raise SessionTooLarge if all together would be."""
    after = {**stored, **sets}
    gone = deletes if elements is None else {*deletes, *elements.retired}
    total = sum(len(n) + len(data) for n, data in after.items() if n not in gone)
    total += _bytes_of(elements)
    if total > context.settings.session_bytes_max:
        raise SessionTooLarge(
            f"the session takes {total} bytes; session_bytes_max is "
            f"{context.settings.session_bytes_max}"
        )
