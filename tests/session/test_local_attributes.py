"""Attributes that match ``local_attributes`` stay: no message carries them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.feed import START, Batch
from clustersession.core.state import (
    LOCAL_PREFIX,
    Change,
    Creation,
    SessionState,
    delta_since,
    merge,
    shared,
)
from clustersession.replica.engines.memory import MemoryEngine
from clustersession.replica.replica import Replica
from clustersession.session.lifetimes import PERMANENT
from clustersession.session.visit import visit_of
from clustersession.wire.messages import (
    Changes,
    Fetched,
    Sessions,
    SnapshotPageMessage,
    decode_message,
    encode_message,
)
from tests.session.fakes import World

NOW_MS = 1_700_000_000_000
NODES = b"node-aaa", b"node-bbb"


@pytest.fixture
def world() -> World:
    return World(local_attributes=("cache_.*", "draft"))


def names(world: World, cookie: str) -> set[str]:
    session = world.open([cookie])
    assert visit_of(session).state is not None
    return {n for n, r in visit_of(session).state.registers.items() if r.value and n[1:5] != "idle"}


def test_they_are_stored_under_another_name_and_read_under_their_own(world: World) -> None:
    cookie = world.store(user="ann", cache_page=[1], draft="d", drafts="shared")
    assert names(world, cookie) == {
        "user", "drafts", f"{LOCAL_PREFIX}cache_page", f"{LOCAL_PREFIX}draft"
    }
    session = world.open([cookie])
    assert len(session) == 4
    assert session == {"user": "ann", "cache_page": [1], "draft": "d", "drafts": "shared"}
    session["cache_page"].append(2)
    del session["draft"]
    world.commit(session)
    assert world.open([cookie]) == {"user": "ann", "cache_page": [1, 2], "drafts": "shared"}


def test_nobody_waits_for_peers_that_get_to_see_nothing(world: World) -> None:
    cookie = world.store(user="ann", draft="d")
    confirmed = list(world.cluster.confirmed)
    session = world.open([cookie])
    session["draft"] = "e"
    world.commit(session)
    assert world.cluster.confirmed == confirmed
    assert world.cluster.feed_heads


def test_they_move_along_to_a_new_id(world: World) -> None:
    cookie = world.store(user="ann", draft="d")
    session = world.open([cookie])
    session.rotate()
    header = world.commit(session).set_cookie or ""
    after = header.partition(";")[0].partition("=")[2]
    assert world.open([after]) == {"user": "ann", "draft": "d"}
    assert names(world, after) == {"user", f"{LOCAL_PREFIX}draft"}


def test_other_patterns_move_an_attribute_at_its_next_write() -> None:
    before, after = World(), World(local_attributes=("draft",))
    after.replica = before.replica
    after.use(before.replica)
    cookie = before.store(draft="d")
    session = after.open([cookie])
    assert session == {"draft": "d"}
    session["draft"] = "local"
    after.commit(session)
    assert names(after, cookie) == {f"{LOCAL_PREFIX}draft"}
    session = before.open([cookie])
    session["draft"] = "shared again"
    before.commit(session)
    assert names(before, cookie) == {"draft"}
    session = before.open([cookie])
    session.clear()
    before.commit(session)
    assert before.open([cookie]) == {}


def test_flasks_permanent_is_never_local() -> None:
    world = World(local_attributes=(".*",))
    session = world.open([])
    session["a"] = 1
    session.permanent = True
    world.commit(session)
    assert session.permanent
    assert PERMANENT in visit_of(session).state.registers


# --- what other nodes see ------------------------------------------------------------------------

attributes = st.sampled_from(["a", "b", f"{LOCAL_PREFIX}x", f"{LOCAL_PREFIX}y"])
writes = st.lists(st.tuples(st.integers(0, 1), attributes, st.binary(min_size=1, max_size=3)))


def replica(node: bytes) -> Replica:
    return Replica(MemoryEngine(), lambda: node, clock_skew_ms_max=600_000)


def over_the_wire(message: Any) -> Any:
    """As the other node gets it, and the proof that nothing local is in the bytes."""
    data = encode_message(message)
    assert LOCAL_PREFIX.encode() not in data
    return decode_message(data)


def visible(state: SessionState | None) -> SessionState | None:
    return None if state is None else shared(state)


@given(writes)
def test_no_message_carries_them_and_the_nodes_agree_all_the_same(
    steps: list[tuple[int, str, bytes]],
) -> None:
    replicas = [replica(node) for node in NODES]
    replicas[0].commit(
        [Change("k", NOW_MS, {"a": b"0", f"{LOCAL_PREFIX}x": b"0"},
                creation=Creation(NOW_MS, NOW_MS + 10**9, 60_000))],
        NOW_MS,
    )
    for at, name, data in [(0, "a", b"1"), *steps]:
        here, there = replicas[at], replicas[1 - at]
        here.commit([Change("k", NOW_MS, {name: data})], NOW_MS)
        cursor = there.cursors().get(here.node, START)
        batch: Batch = over_the_wire(
            Changes(here.feed(cursor.floor, cursor.position, 2**20), confirm=True)
        ).batch
        applied = there.apply(batch, NOW_MS)
        assert not applied.missing
        assert applied.cursor.floor == here.head()
    first, second = (r.get("k") for r in replicas)
    assert visible(first) == visible(second)
    assert replicas[0].digests() == replicas[1].digests()
    assert replicas[0].listing(range(4096), 10) == replicas[1].listing(range(4096), 10)

    # Snapshot, fetch and repair: a third node gets the whole session, but for them.
    state = replicas[0].get("k")
    assert state is not None
    page = replicas[0].snapshot("", 2**20)
    for message in (
        SnapshotPageMessage("", tuple(page.sessions), page.next_key, True, page.cursors, 1),
        Sessions((("k", state),)),
    ):
        assert dict(over_the_wire(message).sessions)["k"] == shared(state)
    third = replica(b"node-ccc")
    fetched = over_the_wire(Fetched("k", state)).state
    third.merge([("k", fetched)], NOW_MS)
    assert third.get("k") == shared(state)
    assert third.digests() == replicas[0].digests()

    # What comes back from a node that does not have them takes nothing away.
    assert merge(state, fetched) == state


def test_a_delta_of_nothing_but_them_still_moves_the_feed() -> None:
    here, there = replica(NODES[0]), replica(NODES[1])
    here.commit(
        [Change("k", NOW_MS, {f"{LOCAL_PREFIX}x": b"0"},
                creation=Creation(NOW_MS, NOW_MS + 10**9, 60_000))],
        NOW_MS,
    )
    state = here.get("k")
    assert state is not None
    assert delta_since("k", state, NODES[0], 0).full
    there.apply(here.feed(0, 0, 2**20), NOW_MS)
    # After a failover the session is there, and they are not.
    assert there.get("k") == shared(state)
    assert there.digests() == here.digests()
