"""Random histories of a user's index, kept by a server and by a model: both must agree.

    python -m tests.store.indexes [COUNT]
"""

import sys
import time
from typing import Any

import redis
from hypothesis import strategies as st

from clustersession.node.store_calls import IndexEntry, MergeAnswer
from clustersession.store.form import entry_of, member_of
from clustersession.store.library import ENTER, script
from tests.store.agreement import agree, try_everywhere
from tests.store.histories import EXACT, NODES

INDEX = "clustersession:shop:u:{0}:sessions"
LATEST_MS = 2**52

Step = tuple[IndexEntry, int] | IndexEntry
"""A session is entered until then, or forgotten."""


class Model:
    """What the index must name, and until when."""

    def __init__(self) -> None:
        self.entries: dict[IndexEntry, int] = {}

    def enter(self, entry: IndexEntry, until_ms: int, now_ms: int) -> MergeAnswer:
        """Name a session; a later time counts."""
        self.expire(now_ms)
        until_ms = min(until_ms, LATEST_MS)
        if until_ms < now_ms or self.entries.get(entry, 0) >= until_ms:
            return MergeAnswer.SAME
        self.entries[entry] = until_ms
        return MergeAnswer.DONE

    def forget(self, entry: IndexEntry) -> None:
        """Name it no more."""
        self.entries.pop(entry, None)

    def expire(self, now_ms: int) -> None:
        """What is over goes."""
        self.entries = {e: until_ms for e, until_ms in self.entries.items() if until_ms >= now_ms}


def steps(now_ms: int) -> st.SearchStrategy[Step]:
    """Few sessions, stamps and times, so that histories meet."""
    stamps = st.tuples(st.sampled_from(EXACT), st.sampled_from(NODES), st.sampled_from(EXACT))
    entries = st.builds(IndexEntry, st.sampled_from(["k" * 23, "l" * 23, "é中", ".x"]), stamps)
    times = st.sampled_from([
        now_ms - 600_000, now_ms - 1, now_ms + 3_000_000, now_ms + 3_000_001, now_ms + 2**45,
        LATEST_MS + 1, 2**63 - 1,
    ])
    return st.tuples(entries, times) | entries


def disagreement(client: "redis.Redis", call: Any, history: list[Step]) -> str:
    """Keep a history in both; say where they differ first, "" when nowhere."""
    model = Model()
    client.delete(INDEX)
    for number, step in enumerate(history):
        now_ms = time.time_ns() // 1_000_000
        if isinstance(step, IndexEntry):
            model.forget(step)
            client.zrem(INDEX, member_of(step))
        else:
            wanted, answer = model.enter(*step, now_ms), MergeAnswer(call(client, *step))
            if answer is not wanted:
                return f"step {number}: {answer.name}, wanted {wanted.name}"
        found: Any = client.zrange(INDEX, 0, -1, withscores=True)
        got = {entry_of(member): int(score) for member, score in found}
        if got != model.entries:
            return f"step {number}:\n{got}\n{model.entries}"
        last_ms = max(model.entries.values(), default=-2)
        # Without an end of its own it would stay for ever; it may be later than the last entry.
        if int(client.pexpiretime(INDEX)) < last_ms:  # type: ignore[arg-type]
            return f"step {number}: expires at {client.pexpiretime(INDEX)}, {last_ms}"
    return ""


def by_function(client: "redis.Redis", entry: IndexEntry, until_ms: int) -> int:
    """Call the function of the library."""
    member: Any = member_of(entry)
    answer: Any = client.fcall(ENTER, 1, INDEX, member, until_ms)  # type: ignore[arg-type]
    return int(answer)


def by_script(client: "redis.Redis", entry: IndexEntry, until_ms: int) -> int:
    """Run it as a script."""
    code = script(ENTER)
    answer: Any = client.eval(code, 1, INDEX, member_of(entry), until_ms)  # type: ignore[arg-type]
    return int(answer)


def compare(client: "redis.Redis", call: Any, count: int) -> None:
    """Try so many histories. Raises AssertionError with the shortest that differs."""
    histories = st.lists(steps(time.time_ns() // 1_000_000), min_size=1, max_size=12)
    agree(client, histories, lambda history: disagreement(client, call, history), count)


if __name__ == "__main__":
    sys.exit(try_everywhere("indexes", lambda client, count: compare(client, by_function, count)))
