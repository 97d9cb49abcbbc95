"""Random histories of one session, merged by a server and by the core: both must agree.

Some steps are changes, which the store may leave alone, but not take other than the core does.

    python -m tests.store.histories [COUNT]
"""

import sys
import time
from dataclasses import replace
from typing import Any, NamedTuple

import redis
from hypothesis import strategies as st

from clustersession.core.elements import LIST, group_of
from clustersession.core.state import (
    ENDED_INVALIDATED,
    ENDED_REVOKED,
    IDLE_TIMEOUT,
    PRINCIPAL,
    Delta,
    Ended,
    Register,
    SessionState,
    apply_delta,
    expires_ms,
)
from clustersession.node.store_calls import IndexEntry
from clustersession.node.store_index import entering
from clustersession.store.form import change_of, entry_of, fields_of, member_of, state_of
from clustersession.store.library import AGENT_WANTED, CHANGE, MERGE, MergeAnswer, script
from tests.store.agreement import agree, try_everywhere

SKEW_MS = 300_000
KEY = "k" * 23
CARRIED = "carried"
INDEX = "index"
NODES = (b"\0" * 8, b"\xff" * 8, b"node-bbb")
BIG = 2**62
"""Beyond what Lua's numbers hold exactly."""

EXACT = (1, 2, BIG, BIG + 1)


class PlainNames:
    """Names and values in clear: what is compared here is the merging."""

    def seal(self, key: str, stamp: bytes, name: str, value: bytes | None) -> tuple[bytes, bytes]:
        """Return both as they are."""
        return name.encode(), value or b""

    def open(self, key: str, stamp: bytes, sealed: bytes, value: bytes) -> tuple[str, bytes | None]:
        """Return both as they are."""
        return sealed.decode(), value if stamp[48:] == b"1" else None


def deltas(now_ms: int) -> st.SearchStrategy[Delta]:
    """Whole copies and parts of one session, near now, with ties of every kind.

    A few values for each number, so that histories meet: equal stamps with unequal content, which
    only forgers make, idle timeouts, ends and deadlines that have passed.
    """
    nodes = st.sampled_from(NODES)
    times = st.sampled_from([(now_ms << 16) + low for low in (0, 1, 65_535)] + [1])
    values = st.none() | st.sampled_from([b"", b"1", b"\xc3\xa9", b"e", b"E", b"\0", b"9" * 70])
    registers = st.builds(Register, times, nodes, st.sampled_from(EXACT), values)
    idle = st.builds(
        Register, times, nodes, st.sampled_from(EXACT),
        st.sampled_from([None, b"", b"0", b"1800000", b"60000", b"x1", b"9" * 17]),
    )
    names = st.sampled_from(["a", "b", "é中", PRINCIPAL, "c" * 300, group_of(LIST, "a") + "1"])
    attributes = st.dictionaries(names, registers)
    live = st.builds(
        lambda some, own: {**some, **({} if own is None else {IDLE_TIMEOUT: own})},
        attributes, st.none() | idle,
    )
    ends = st.builds(Ended, times, nodes, st.sampled_from([ENDED_INVALIDATED, ENDED_REVOKED, "é"]))
    near = st.sampled_from([now_ms - 3_000_000, now_ms - 1000, now_ms])
    deadlines = st.sampled_from([now_ms - 600_000, now_ms + 3_000_000, now_ms + 2**45, 2**63 - 1])
    states = st.builds(
        lambda created, accessed, deadline, registers, versions, ended: SessionState(
            created, accessed, deadline, {} if ended else registers, versions, ended
        ),
        near, near, deadlines, live, st.dictionaries(nodes, st.sampled_from(EXACT)),
        st.none() | st.none() | st.none() | ends,
    )
    return st.builds(Delta, st.just(KEY), states, st.booleans())


class Calls(NamedTuple):
    """How a server runs the two functions."""

    merge: Any
    change: Any


class Written(NamedTuple):
    """A write of one node as a worker sends it, after its write at ``base``.

    fits: the worker knows the session's times, and its node's place there, as the store has them.
    """

    base: int
    delta: Delta
    fits: bool

    def to(self, session: SessionState | None) -> "Written":
        """The same after what the session has."""
        if session is None or not self.fits:
            return self
        part = replace(
            self.delta.state, created_ms=session.created_ms, deadline_ms=session.deadline_ms
        )
        base = session.versions.get(_writer(self.delta), 0)
        return Written(base, Delta(KEY, part, full=False), fits=True)


def writes(now_ms: int) -> st.SearchStrategy[Written]:
    """What one node has written to a session of ``deltas``, most often after what is there."""

    def of(
        delta: Delta, node: bytes, seq: int, base: int, age_ms: int, fits: bool
    ) -> Written:
        state = delta.state
        registers = {
            name: Register((now_ms - age_ms) << 16, node, seq, register.value)
            for name, register in state.registers.items() if name != IDLE_TIMEOUT
        }
        part = SessionState(
            state.created_ms, state.accessed_ms, state.deadline_ms, registers, {node: seq}
        )
        return Written(base, Delta(KEY, part, full=False), fits)

    return st.builds(
        of, deltas(now_ms), st.sampled_from(NODES), st.sampled_from(EXACT),
        st.sampled_from((0, 0, *EXACT)), st.sampled_from((0, 0, 0, 1, 1000)),
        st.sampled_from((True, True, True, False)),
    )


Step = Delta | Written

Told = tuple[()] | tuple[bytes, int]
"""What an index is told: a member, and its milliseconds."""


def disagreement(client: "redis.Redis", calls: Calls, history: list[Step]) -> str:
    """Merge a history in both; say where they differ first, "" when nowhere."""
    names = PlainNames()
    expected: SessionState | None = None
    client.delete(KEY, INDEX)
    for number, told in enumerate(history):
        before = expected
        step = told.to(before) if isinstance(told, Written) else told
        delta = step.delta if isinstance(step, Written) else step
        expected = apply_delta(before, delta)
        now_ms = time.time_ns() // 1_000_000
        if isinstance(step, Written):
            entry = () if expected is None else told_with(expected)
            indexed = index_of(client)
            code = calls.change(client, change_of(KEY, delta.state, step.base, names), entry)
            if (wrong := _index_differs(client, indexed, entry, code, now_ms)):
                return f"step {number}: {wrong}"
            if code == AGENT_WANTED:
                expected = before
                answer = MergeAnswer.SAME
            elif before is None or before.versions.get(_writer(delta), 0) < step.base:
                return f"step {number}: taken without what it stands on"
            else:
                answer = MergeAnswer(code)
        else:
            answer = MergeAnswer(
                calls.merge(client, delta.full, fields_of(KEY, delta.state, names))
            )
        found: Any = client.hgetall(KEY)
        if expected is not None and kept_until_ms(expected) < now_ms:
            # What has expired is no copy: the store has removed it.
            expected = None
        got = state_of(KEY, found, names) if found else None
        wanted = (
            answer if isinstance(step, Written) and expected is before
            else MergeAnswer.WHOLE_COPY_WANTED if before is None and isinstance(step, Delta)
            and not step.full
            else MergeAnswer.SAME if before is not None and expected == before else MergeAnswer.DONE
        )
        if got != expected or answer is not wanted:
            return f"step {number}: {answer.name}, wanted {wanted.name}\n{got}\n{expected}"
        if expected is not None and client.pexpiretime(KEY) != min(kept_until_ms(expected), 2**52):
            return f"step {number}: expires at {client.pexpiretime(KEY)}, {kept_until_ms(expected)}"
    return ""


def told_with(state: SessionState) -> Told:
    """What the index is told with a write of a session that stands so after it."""
    enter = entering(KEY, state)
    return () if enter is None else (member_of(enter.entry), enter.until_ms)


def index_of(client: "redis.Redis") -> dict[IndexEntry, int]:
    """What the index names, and until when."""
    found: Any = client.zrange(INDEX, 0, -1, withscores=True)
    return {entry_of(member): int(score) for member, score in found}


def _index_differs(
    client: "redis.Redis", before: dict[IndexEntry, int], told: Told, code: int, now_ms: int
) -> str:
    found, wanted = index_of(client), dict(before)
    if told and code == MergeAnswer.DONE:
        member, until_ms = told
        entry, until_ms = entry_of(member), min(until_ms, 2**52)
        if until_ms >= now_ms:
            wanted[entry] = max(wanted.get(entry, 0), until_ms)
    if found != wanted:
        return f"the index names {found}, not {wanted}"
    last_ms = max(found.values(), default=-2)
    if int(client.pexpiretime(INDEX)) < last_ms:  # type: ignore[arg-type]
        return "the index goes before its last member"
    return ""


def _writer(delta: Delta) -> bytes:
    [node] = delta.state.versions
    return node


def kept_until_ms(state: SessionState) -> int:
    """When a copy may be removed, as record_writer has it."""
    return expires_ms(state) + (SKEW_MS if state.ended is not None else 0)


def by_function(client: "redis.Redis", whole: bool, fields: list[bytes]) -> int:
    """Call the merge of the function library."""
    rest: list[Any] = [KEY, int(whole), SKEW_MS, 0, *fields]
    answer: Any = client.fcall(MERGE, 1, *rest)
    return int(answer)


def change_by_function(client: "redis.Redis", arguments: list[bytes], told: Told = ()) -> int:
    """Call the change of the function library."""
    answer: Any = client.fcall(CHANGE, *_to_change(arguments, told))
    return int(answer)


def change_by_script(client: "redis.Redis", arguments: list[bytes], told: Told = ()) -> int:
    """Run the change as a script."""
    answer: Any = client.eval(script(CHANGE), *_to_change(arguments, told))
    return int(answer)


def _to_change(arguments: list[bytes], told: Told) -> Any:
    keys = [KEY, CARRIED, INDEX] if told else [KEY, CARRIED]
    return len(keys), *keys, SKEW_MS, *arguments, *told


def by_script(client: "redis.Redis", whole: bool, fields: list[bytes]) -> int:
    """Run the merge as a script."""
    rest: list[Any] = [KEY, int(whole), SKEW_MS, 0, *fields]
    answer: Any = client.eval(script(MERGE), 1, *rest)
    return int(answer)


FUNCTIONS = Calls(by_function, change_by_function)
SCRIPTS = Calls(by_script, change_by_script)


def compare(client: "redis.Redis", calls: Calls, count: int) -> None:
    """Try so many histories. Raises AssertionError with the shortest that differs."""
    now_ms = time.time_ns() // 1_000_000
    histories = st.lists(deltas(now_ms) | writes(now_ms), min_size=1, max_size=6)
    agree(client, histories, lambda history: disagreement(client, calls, history), count)


if __name__ == "__main__":
    sys.exit(try_everywhere("histories", lambda client, count: compare(client, FUNCTIONS, count)))
