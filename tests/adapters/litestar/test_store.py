"""The store for Litestar's own sessions, over a real replica."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.testing import TestClient

from clustersession.core.creation_rate import BURST_S
from clustersession.core.errors import SessionTooLarge
from clustersession.core.state import ENDED_INVALIDATED, Change
from clustersession.litestar.store import ClusterStore
from tests.adapters.contract import in_thread
from tests.adapters.litestar.app import HANDLERS


@pytest.fixture
def store() -> Iterator[ClusterStore]:
    store = ClusterStore()
    yield store
    store.runtime.close()


class Clock:
    """Moves the wall clock of a store's manager."""

    def __init__(self, store: ClusterStore, monkeypatch: pytest.MonkeyPatch) -> None:
        manager = store.runtime.manager()
        self.ahead_ms = 0
        real = manager.now_ms
        monkeypatch.setattr(manager, "now_ms", lambda: real() + self.ahead_ms)


@pytest.fixture
def clock(store: ClusterStore, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(store, monkeypatch)


def elsewhere(work: Callable[[], Any]) -> Any:
    """In another request: with a context of its own."""
    return in_thread(work)


async def test_set_get_delete(store: ClusterStore) -> None:
    assert await store.get("id") is None
    await store.set("id", b"one")
    await store.set("id", "two")
    assert await store.get("id") == b"two"
    assert await store.exists("id")
    assert await store.expires_in("id") == -1
    await store.delete("id")
    assert await store.get("id") is None
    assert not await store.exists("id")
    assert await store.expires_in("id") is None
    await store.delete("id")


async def test_expiry_is_exact_and_renewed(store: ClusterStore, clock: Clock) -> None:
    await store.set("id", b"x", expires_in=100)
    assert await store.expires_in("id") in (99, 100)
    clock.ahead_ms = 99_000
    assert await store.get("id", renew_for=100) == b"x"
    clock.ahead_ms = 198_000
    assert await store.get("id") == b"x"
    clock.ahead_ms = 199_500
    assert await store.get("id") is None
    assert not await store.exists("id")
    await store.set("id", b"again", expires_in=10)
    assert await store.get("id") == b"again"


async def test_a_value_without_expiry_is_not_given_one(store: ClusterStore) -> None:
    await store.set("id", b"x")
    assert await store.get("id", renew_for=10) == b"x"
    assert await store.expires_in("id") == -1


async def test_reading_and_writing_the_same_write_little(store: ClusterStore) -> None:
    replica = store.runtime.manager().replica
    await store.set("id", b"x", expires_in=1000)
    head = replica.head()
    for _ in range(10):
        await store.get("id", renew_for=1000)
        await store.set("id", b"x", expires_in=1000)
    assert replica.head() == head
    await store.set("id", b"x", expires_in=2000)
    assert replica.head() == head + 1


async def test_a_logout_wins_over_a_request_that_still_runs(store: ClusterStore) -> None:
    await store.set("id", b"x")
    assert await store.get("id") == b"x"
    elsewhere(lambda: store.delete("id"))
    await store.set("id", b"late")
    assert await store.get("id") is None
    # The next request of a browser that held on to its cookie.
    elsewhere(lambda: store.set("id", b"new"))
    assert await store.get("id") == b"new"


async def test_an_id_can_be_used_again_but_not_for_ever(store: ClusterStore) -> None:
    for round_ in range(16):
        await store.set("id", b"%d" % round_)
        assert await store.get("id") == b"%d" % round_
        await store.delete("id")
    await store.set("id", b"too often")
    assert await store.get("id") is None


async def test_delete_all_ends_the_values_of_this_store_alone(store: ClusterStore) -> None:
    other = ClusterStore(name="other")
    for number in range(600):
        await store.set(f"id{number}", b"x")
    await other.set("id1", b"other")
    await store.delete_all()
    assert not any([await store.exists(f"id{number}") for number in range(600)])
    assert await other.get("id1") == b"other"
    other.runtime.close()


async def test_a_foreign_id_is_never_a_key(store: ClusterStore) -> None:
    replica = store.runtime.manager().replica
    hostile = ["", "\x00", "x" * 10_000, "litestar.AAAA", "\ud800", "../../etc", "a.b"]
    for identifier in hostile:
        assert await store.get(identifier) is None
        await store.set(identifier, identifier.encode("utf-8", "replace"))
    keys = replica.keys("", 100)
    assert len(keys) == len(hostile)
    assert all(len(key) == len("litestar.") + 43 for key in keys)
    # Whoever can list the keys cannot use one as an id.
    assert [await store.get(key) for key in keys] == [None] * len(keys)


async def test_too_large_a_value_is_refused() -> None:
    store = ClusterStore(attribute_bytes_max=100)
    with pytest.raises(SessionTooLarge, match="attribute_bytes_max is 100"):
        await store.set("id", b"x" * 101)
    store.runtime.close()


async def test_beyond_the_rate_a_new_value_is_not_stored_and_others_change() -> None:
    store = ClusterStore(new_sessions_per_second_max=1)
    manager = store.runtime.manager()
    now_ms = manager.now_ms()
    manager.now_ms = lambda: now_ms  # type: ignore[method-assign]
    for number in range(BURST_S + 3):
        await store.set(str(number), b"new")
    assert manager.replica.stats().sessions == BURST_S
    assert manager.counters.refused_new_sessions == 3
    await store.set("0", b"changed")
    assert await store.get("0") == b"changed"
    store.runtime.close()


async def test_made_up_ids_keep_few_questions_to_peers_in_flight(store: ClusterStore) -> None:
    manager = store.runtime.manager()
    asked, most = 0, 0

    async def fetch(key: str, wanted: object = None) -> bool:
        nonlocal asked, most
        asked += 1
        most = max(most, asked)
        await asyncio.sleep(0)
        asked -= 1
        return False

    manager.cluster.fetch_async = fetch  # type: ignore[method-assign]
    await asyncio.gather(*(store.get(str(number)) for number in range(100)))
    assert most == 16


def test_litestars_own_sessions_over_the_store() -> None:
    def app() -> Litestar:
        return Litestar(
            HANDLERS, logging_config=None, middleware=[ServerSideSessionConfig().middleware],
            stores={"sessions": ClusterStore()},
        )

    with TestClient(app()) as first, TestClient(app()) as second:
        first.post("/set", json={"a": [1]})
        second.cookies.set("session", first.cookies["session"])
        assert second.get("/read").json() == {"a": [1]}
        second.post("/logout")
        assert first.get("/read").json() == {}


async def test_before_the_peers_were_met_a_value_is_asked_for_too(
    store: ClusterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.set("id", b"x")
    manager = store.runtime.manager()
    (place,) = manager.replica.keys("", 10)

    async def fetch(key: str, wanted: object = None) -> bool:
        # A peer knows that it was deleted.
        manager.write_unconfirmed([Change(key, manager.now_ms(), end=ENDED_INVALIDATED)])
        return True

    monkeypatch.setattr(manager.cluster, "fetch_async", fetch)
    monkeypatch.setattr(manager.cluster.contact, "is_apart", lambda: True)
    assert await store.get("id") is None
    state = manager.replica.get(place)
    assert state is not None
    assert state.ended is not None
