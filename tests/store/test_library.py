"""The store's merge is the core's: whatever is merged in whatever order, both say the same."""

import time
from dataclasses import replace
from typing import Any

import pytest
import redis

from clustersession.core.state import Register, SessionState
from clustersession.node.store_calls import IndexEntry
from clustersession.store.form import change_of, fields_of, member_of
from clustersession.store.library import AGENT_WANTED, MERGE, MergeAnswer, source
from tests.store import indexes
from tests.store.histories import (
    CARRIED,
    FUNCTIONS,
    INDEX,
    KEY,
    NODES,
    SCRIPTS,
    SKEW_MS,
    Calls,
    PlainNames,
    by_function,
    change_by_function,
    compare,
)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


BEGAN_MS = now_ms()


def copy(*times: int) -> list[bytes]:
    registers = {f"a{n}": Register(at, NODES[2], 1, b"v") for n, at in enumerate(times)}
    state = SessionState(now_ms(), now_ms(), now_ms() + 10**7, registers, {NODES[2]: 1}, None)
    return fields_of(KEY, state, PlainNames())


@pytest.fixture
def store(client: redis.Redis) -> redis.Redis:
    client.flushall()
    client.function_load(source(), replace=True)
    return client


@pytest.mark.parametrize("calls", [FUNCTIONS, SCRIPTS])
def test_merges_are_those_of_the_core(client: redis.Redis, calls: Calls) -> None:
    compare(client, calls, 150)


def test_a_merge_that_changes_nothing_tells_nobody(store: redis.Redis) -> None:
    """What watches a key hears of the same writes as who keeps a copy of it."""
    fields = copy(1)
    assert by_function(store, True, fields) == MergeAnswer.DONE
    with store.pipeline() as watching:
        watching.watch(KEY)
        assert by_function(store, True, fields) == MergeAnswer.SAME
        assert by_function(store, False, fields[-2:]) == MergeAnswer.SAME
        watching.multi()
        watching.ping()
        assert watching.execute() == [True]
        watching.watch(KEY)
        assert by_function(store, False, copy(2)) == MergeAnswer.DONE
        watching.multi()
        watching.ping()
        with pytest.raises(redis.WatchError):
            watching.execute()


def test_a_part_of_a_session_that_is_not_there_is_none(store: redis.Redis) -> None:
    assert by_function(store, False, copy(1)) == MergeAnswer.WHOLE_COPY_WANTED
    assert not store.exists(KEY)


def test_stamps_from_the_future_are_refused_whole(store: redis.Redis) -> None:
    allowed, refused = now_ms() + SKEW_MS - 60_000, now_ms() + SKEW_MS + 60_000
    assert by_function(store, True, copy(1, refused << 16)) == MergeAnswer.FROM_THE_FUTURE
    assert not store.exists(KEY)
    assert by_function(store, True, copy(1, allowed << 16)) == MergeAnswer.DONE
    assert by_function(store, True, copy((2**63) - 1)) == MergeAnswer.FROM_THE_FUTURE


def test_more_attributes_than_the_stack_of_lua_holds(store: redis.Redis) -> None:
    assert by_function(store, True, copy(*[1] * 10_000)) == MergeAnswer.DONE
    assert store.hlen(KEY) == 10_000 + 4
    end = [b"e", b"%016x%bgone" % (1, NODES[2].hex().encode())]
    assert by_function(store, True, [*copy(), *end]) == MergeAnswer.DONE
    assert store.hlen(KEY) == 5


def test_too_many_attributes_are_refused_whole(store: redis.Redis) -> None:
    assert by_function(store, True, copy(*[1] * 65_000)) == MergeAnswer.DONE
    more = [part for n in range(5000) for part in (b"rmore%d" % n, b"0" * 48 + b"1")]
    assert by_function(store, False, more) == MergeAnswer.TOO_LARGE
    assert store.hlen(KEY) == 65_000 + 4


def test_an_older_node_goes_on_beside_a_newer_one(store: redis.Redis) -> None:
    """Each version is a library of its own name."""
    newer = source().replace("clustersession4", "clustersession5")
    store.function_load(newer)
    assert by_function(store, True, copy(1)) == MergeAnswer.DONE
    rest: list[Any] = [KEY, 1, SKEW_MS, 0, *copy(2)]
    answer: Any = store.fcall("clustersession5_merge", 1, *rest)
    assert answer == MergeAnswer.DONE
    assert MERGE.startswith("clustersession4")


def test_a_session_goes_at_its_time(store: redis.Redis) -> None:
    state = SessionState(now_ms(), now_ms(), now_ms() - 1, {}, {NODES[0]: 1}, None)
    assert by_function(store, True, fields_of(KEY, state, PlainNames())) == MergeAnswer.DONE
    assert not store.exists(KEY)
    alive = replace(state, deadline_ms=now_ms() + 60_000)
    assert by_function(store, True, fields_of(KEY, alive, PlainNames())) == MergeAnswer.DONE
    assert 50_000 < int(store.pttl(KEY)) <= 60_000  # type: ignore[arg-type]


OURS = NODES[2]


def change_at(seq: int, base: int, time: int = 0, name: str = "a0") -> list[bytes]:
    """What our node writes to the session of ``begun``."""
    registers = {name: Register(time or now_ms() << 16, OURS, seq, b"w")}
    part = SessionState(BEGAN_MS, BEGAN_MS, BEGAN_MS + 10**7, registers, {OURS: seq})
    return change_of(KEY, part, base, PlainNames())


@pytest.fixture
def begun(store: redis.Redis) -> redis.Redis:
    """A store with a session in which our node has written at its place 7."""
    registers = {"a0": Register(1, OURS, 7, b"v"), "b0": Register(2, NODES[0], 1, b"v")}
    state = SessionState(BEGAN_MS, BEGAN_MS, BEGAN_MS + 10**7, registers, {OURS: 7, NODES[0]: 1})
    assert by_function(store, True, fields_of(KEY, state, PlainNames())) == MergeAnswer.DONE
    return store


def test_a_change_is_taken_once(begun: redis.Redis) -> None:
    told = change_at(9, 7)
    assert change_by_function(begun, told) == MergeAnswer.DONE
    assert change_by_function(begun, told) == MergeAnswer.SAME
    assert change_by_function(begun, change_at(10, 0, name="new")) == MergeAnswer.DONE


def test_how_far_workers_have_carried_the_feed_never_goes_back(begun: redis.Redis) -> None:
    for place, kept in ((9, 9), (11, 11), (10, 11)):
        change_by_function(begun, change_at(place, 7, name=f"n{place}"))
        assert begun.get(CARRIED) == b"%016x" % kept
    begun.set(CARRIED, "forged", px=60_000)
    assert change_by_function(begun, change_at(12, 7)) == MergeAnswer.DONE
    assert begun.get(CARRIED) == b"%016x" % 12
    assert int(begun.pttl(CARRIED)) > 0  # type: ignore[arg-type]


def test_a_change_is_not_taken_without_the_write_before(begun: redis.Redis) -> None:
    assert change_by_function(begun, change_at(9, 8)) == AGENT_WANTED
    begun.hdel(KEY, b"v" + OURS.hex().encode())
    assert change_by_function(begun, change_at(9, 7)) == AGENT_WANTED
    begun.delete(KEY)
    assert change_by_function(begun, change_at(9, 0)) == AGENT_WANTED
    assert not begun.exists(KEY)


def test_a_change_from_the_future_or_to_what_has_ended_is_not_taken(begun: redis.Redis) -> None:
    late = now_ms() + SKEW_MS + 60_000
    assert change_by_function(begun, change_at(9, 7, late << 16)) == AGENT_WANTED
    begun.hset(KEY, "e", b"%016x%bgone" % (1, NODES[0].hex().encode()))
    assert change_by_function(begun, change_at(9, 7)) == AGENT_WANTED


def test_the_index_of_a_user_goes_with_a_change(begun: redis.Redis) -> None:
    member, until_ms = member_of(IndexEntry(KEY, (1, OURS, 7))), BEGAN_MS + 10**7 - 10
    assert change_by_function(begun, change_at(9, 8), (member, until_ms)) == AGENT_WANTED
    assert not begun.exists(INDEX)
    for seq, until, wanted in ((9, 0, 0), (10, 5, 5), (11, 3, 5)):
        told = (member, until_ms + until)
        assert change_by_function(begun, change_at(seq, 7), told) == MergeAnswer.DONE
        assert begun.zscore(INDEX, member) == until_ms + wanted
        assert begun.pexpiretime(INDEX) == until_ms + wanted


def test_a_change_is_not_taken_where_no_index_stands(begun: redis.Redis) -> None:
    begun.set(INDEX, "a text")
    told = (member_of(IndexEntry(KEY, (1, OURS, 7))), BEGAN_MS + 10**7 - 10)
    before = begun.dump(KEY)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        change_by_function(begun, change_at(9, 7), told)
    assert begun.dump(KEY) == before
    assert not begun.exists(CARRIED)


def test_what_is_over_is_not_entered_with_a_change(begun: redis.Redis) -> None:
    told = (member_of(IndexEntry(KEY, (1, OURS, 7))), BEGAN_MS - 60_000)
    assert change_by_function(begun, change_at(9, 7), told) == MergeAnswer.DONE
    assert not begun.exists(INDEX)


@pytest.mark.parametrize("forged", [b"", b"z" * 80, b"7" + b"f" * 48 + b"z", b"\xff"])
def test_forged_bytes_do_not_pass_for_a_write(begun: redis.Redis, forged: bytes) -> None:
    """Each field that a change looks at: it is overwritten, or left to the agent."""
    written = change_at(9, 7)
    for field in ("c", "d", "a", "e", "i", "v" + OURS.hex(), "ra0"):
        before = begun.dump(KEY)
        begun.hset(KEY, field, forged)
        later = change_at(9, 7)
        later[3] = b"%016x" % (BEGAN_MS + 1)
        for told in (written, later):
            if change_by_function(begun, told) == MergeAnswer.DONE:
                assert begun.hget(KEY, "ra0") == told[-1]
                assert begun.hget(KEY, told[4]) == told[5]
            else:
                assert begun.hget(KEY, field) == forged
            begun.delete(KEY)
            begun.restore(KEY, 0, before)  # type: ignore[arg-type]
            begun.hset(KEY, field, forged)
        begun.delete(KEY)
        begun.restore(KEY, 0, before)  # type: ignore[arg-type]
    begun.set(KEY, "x")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        change_by_function(begun, written)


@pytest.mark.parametrize("call", [indexes.by_function, indexes.by_script])
def test_indexes_of_users_are_those_of_the_model(client: redis.Redis, call: Any) -> None:
    indexes.compare(client, call, 150)


def test_what_is_no_index_does_not_stand_in_the_way(store: redis.Redis) -> None:
    store.set(indexes.INDEX, "a text")
    entry = IndexEntry("k", (1, NODES[0], 1))
    assert indexes.by_function(store, entry, now_ms() + 60_000) == MergeAnswer.DONE
    assert store.zcard(indexes.INDEX) == 1
    assert 50_000 < int(store.pttl(indexes.INDEX)) <= 60_000  # type: ignore[arg-type]
