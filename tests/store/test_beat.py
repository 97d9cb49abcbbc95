"""Who beats is told of the others what has changed, and of nobody more than that.

What the function leaves unsaid, nodes take for unchanged: so each way in which the members can
change without it, another library, an operator, a store that went back, must make it speak.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from os import urandom
from typing import Any

import pytest
import redis

from clustersession.store.keys import StoreKeys
from clustersession.store.library import BEAT, script, source

KEYS = StoreKeys("shop")
LATE_MS, GONE_MS, KEPT_MS = 1_000, 3_000, 3_600_000


@dataclass
class Node:
    """One that beats. followed: those of whom it was told that silence would be told."""

    name: str
    told: str = "told"
    edition: int = 1
    known: bytes = b""
    leaves: bool = False
    followed: frozenset[str] = frozenset()

    def beat(self, store: redis.Redis) -> "dict[str, int] | int":
        """Return the ages of the others, or for how long the most silent has been silent."""
        [_, _, _, others, _, self.known] = _call(store, self)
        if isinstance(others, int):
            return others
        self.followed = frozenset(name.decode() for name, _, _, followed in others if followed)
        return {name.decode(): age_ms for name, age_ms, _, _ in others}


def _call(store: redis.Redis, node: Node) -> Any:
    own = node.name.encode()
    keys = [
        KEYS.members, KEYS.memory, KEYS.prefix.encode() + b"n:{n}:cursor:" + own,
        KEYS.prefix.encode() + b"n:{n}:carried:" + own, KEYS.pulse, KEYS.edition,
    ]
    rest: list[Any] = [
        *keys, node.name, "" if node.leaves else node.told, KEPT_MS, urandom(16), KEPT_MS,
        "" if node.leaves else node.edition, node.known, LATE_MS, GONE_MS,
    ]
    return store.fcall(BEAT, len(keys), *rest)


def told_by_an_older_library(store: redis.Redis, name: str, ago_ms: int = 0) -> None:
    """A beat of the library that knows the members' hash alone."""
    now_s, now_us = store.time()  # type: ignore[misc]
    store.hset(KEYS.members, name, f"{now_s * 1000 + now_us // 1000 - ago_ms}:told")


def silent(store: redis.Redis, node: Node, ms: int) -> None:
    """Have the last beat of a node be so long ago."""
    [now_s, now_us] = store.time()  # type: ignore[misc]
    then_ms = now_s * 1000 + now_us // 1000 - ms
    store.hset(KEYS.members, node.name, f"{then_ms}:{node.told}")
    store.zadd(KEYS.pulse, {f"{node.name}:{node.edition}": then_ms})


@pytest.fixture
def store(client: redis.Redis) -> redis.Redis:
    client.flushall()
    client.function_load(source(), replace=True)
    return client


@pytest.fixture
def nodes(store: redis.Redis) -> list[Node]:
    """Three nodes that know each other, and are told nothing more."""
    made = [Node("a1"), Node("b2"), Node("c3")]
    for _ in range(2):
        for node in made:
            node.beat(store)
    assert [type(node.beat(store)) for node in made] == [int] * 3
    return made


def test_who_knows_all_is_told_for_how_long_nobody_was_silent(
    store: redis.Redis, nodes: list[Node]
) -> None:
    silent(store, nodes[1], 400)
    longest_ms = nodes[0].beat(store)
    assert isinstance(longest_ms, int)
    assert 400 <= longest_ms < LATE_MS
    assert nodes[0].followed == {"b2", "c3"}


def test_who_asks_for_all_is_told_all(store: redis.Redis, nodes: list[Node]) -> None:
    for known in (b"", b"another"):
        nodes[0].known = known
        assert nodes[0].beat(store).keys() == {"b2", "c3"}  # type: ignore[union-attr]


def _comes(store: redis.Redis, nodes: list[Node]) -> None:
    Node("d4").beat(store)


def _leaves(store: redis.Redis, nodes: list[Node]) -> None:
    nodes[2].leaves = True
    nodes[2].beat(store)
    nodes[2].leaves = False


def _tells_something_else(store: redis.Redis, nodes: list[Node]) -> None:
    nodes[2].told, nodes[2].edition = "drains", 2
    nodes[2].beat(store)


def _is_late(store: redis.Redis, nodes: list[Node]) -> None:
    silent(store, nodes[2], LATE_MS + 100)


def _is_ahead(store: redis.Redis, nodes: list[Node]) -> None:
    silent(store, nodes[2], -60_000)


def _comes_with_an_older_library(store: redis.Redis, nodes: list[Node]) -> None:
    told_by_an_older_library(store, "d4")


def _members_are_lost(store: redis.Redis, nodes: list[Node]) -> None:
    store.delete(KEYS.members)


def _one_is_removed(store: redis.Redis, nodes: list[Node]) -> None:
    store.hdel(KEYS.members, "c3")


def _edition_is_lost(store: redis.Redis, nodes: list[Node]) -> None:
    store.delete(KEYS.edition)


def _another_stands_in_its_place(store: redis.Redis, nodes: list[Node]) -> None:
    for key in (KEYS.pulse, KEYS.edition):
        store.delete(key)
        store.rpush(key, "x")


def _pulse_is_forged(store: redis.Redis, nodes: list[Node]) -> None:
    store.zadd(KEYS.pulse, {"nobody": 1, "c3:-1": 2, "ff:7": 3})


@pytest.mark.parametrize("happens", [
    _comes, _leaves, _tells_something_else, _is_late, _is_ahead, _comes_with_an_older_library,
    _members_are_lost, _one_is_removed, _edition_is_lost, _another_stands_in_its_place,
    _pulse_is_forged,
])  # fmt: skip
def test_what_changes_among_the_members_is_told_at_the_next_beat(
    store: redis.Redis, nodes: list[Node], happens: Callable[[redis.Redis, list[Node]], None],
) -> None:
    happens(store, nodes)
    told = nodes[0].beat(store)
    assert isinstance(told, dict)
    assert told.keys() == {
        name.decode() for name in store.hkeys(KEYS.members)  # type: ignore[union-attr]
    } - {"a1"}
    if happens is not _comes_with_an_older_library:
        # And nobody is told more for ever.
        for _ in range(3):
            for node in nodes:
                node.beat(store)
        assert [type(node.beat(store)) for node in nodes[:2]] == [int] * 2


def test_who_is_silent_for_too_long_is_followed_no_more(
    store: redis.Redis, nodes: list[Node]
) -> None:
    silent(store, nodes[2], LATE_MS + 100)
    nodes[0].beat(store)
    assert nodes[0].followed == {"b2", "c3"}
    silent(store, nodes[2], GONE_MS + 100)
    for node in nodes[:2]:
        told = node.beat(store)
        assert isinstance(told, dict)
        assert told["c3"] > GONE_MS
        assert "c3" not in node.followed
    nodes[0].beat(store)
    assert isinstance(nodes[0].beat(store), int)
    nodes[2].beat(store)
    assert nodes[0].beat(store)["c3"] < LATE_MS  # type: ignore[index]
    assert nodes[0].followed == {"b2", "c3"}


def test_who_has_left_and_comes_back_is_told(store: redis.Redis, nodes: list[Node]) -> None:
    _leaves(store, nodes)
    nodes[0].beat(store)
    assert nodes[0].followed == {"b2"}
    assert isinstance(nodes[0].beat(store), int)
    nodes[2].beat(store)
    nodes[0].beat(store)
    assert nodes[0].followed == {"b2", "c3"}


def test_while_an_older_library_is_there_all_are_told_all(
    store: redis.Redis, nodes: list[Node]
) -> None:
    for _ in range(5):
        told_by_an_older_library(store, "d4")
        assert nodes[0].beat(store)["d4"] < LATE_MS  # type: ignore[index]
    assert nodes[0].followed == {"b2", "c3"}
    upgraded = Node("d4")
    upgraded.beat(store)
    for _ in range(2):
        for node in (*nodes, upgraded):
            node.beat(store)
    assert isinstance(nodes[0].beat(store), int)
    assert nodes[0].followed == {"b2", "c3", "d4"}


def test_who_goes_back_to_an_older_library_is_not_missed(
    store: redis.Redis, nodes: list[Node]
) -> None:
    store.zadd(KEYS.pulse, {"c3:1": time.time() * 1000 - LATE_MS - 100})
    for _ in range(5):
        told_by_an_older_library(store, "c3")
        assert nodes[0].beat(store)["c3"] < LATE_MS  # type: ignore[index]
    assert nodes[0].followed == {"b2"}


def test_a_store_that_went_back_tells_who_came_since(
    store: redis.Redis, nodes: list[Node]
) -> None:
    kept = [(key, store.dump(key)) for key in (KEYS.members, KEYS.pulse, KEYS.edition)]
    came = Node("d4")
    came.beat(store)
    assert "d4" in nodes[0].beat(store)  # type: ignore[operator]
    for key, dumped in kept:
        store.restore(key, 0, dumped, replace=True)  # type: ignore[arg-type]
    assert nodes[0].beat(store).keys() == {"b2", "c3"}  # type: ignore[union-attr]
    came.beat(store)
    assert nodes[0].beat(store).keys() == {"b2", "c3", "d4"}  # type: ignore[union-attr]


def test_the_script_says_what_the_function_says(store: redis.Redis) -> None:
    digest = store.script_load(script(BEAT))
    keys = [KEYS.members, KEYS.memory, b"c{n}", b"d{n}", KEYS.pulse, KEYS.edition]
    known = b""
    for short in (False, True):
        rest = ["a1", "told", KEPT_MS, urandom(16), KEPT_MS, 1, known, LATE_MS, GONE_MS]
        answer: Any = store.evalsha(digest, len(keys), *keys, *rest)  # type: ignore[arg-type]
        assert isinstance(answer[3], int) is short
        known = answer[5]
