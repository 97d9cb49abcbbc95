"""Which sessions leave the replica for the store."""

from clustersession.core.revocation import principal_tag, revocation_key, revoke
from clustersession.core.state import LOCAL_PREFIX, Change, Creation
from clustersession.node import near_cache
from clustersession.node.stays import BROUGHT_STAYS_S
from tests.node.stored import WALL_MS, Stored, creating, elsewhere, key

IDLE_S = 1200.0
"""Longer than an access counts as fresh, four times: of a half hour's timeout, six minutes."""


def evicting(**settings: object) -> Stored:
    return Stored(**{"near_cache_idle_s": IDLE_S, **settings}).up()


def jump(node: Stored, seconds: float) -> None:
    """Time passes in which nothing is done."""
    node.now_s += seconds
    node.store.wall_ms += round(seconds * 1000)
    node.wait(3.0)


def test_an_idle_session_leaves_without_a_word_and_comes_back_when_it_is_missed() -> None:
    node = evicting()
    node.write(key(1), create=True, x=b"1")
    seen: list[object] = []
    node.replica.observe(seen.extend)
    jump(node, IDLE_S)
    assert node.replica.get(key(1)) is None
    assert node.replica.stats().tombstones == 0
    assert seen == []
    assert node.engine.store is not None
    assert node.engine.store.near_cache.evicted == 1
    node.fetch(7, key(1))
    state = node.replica.get(key(1))
    assert node.found(7) is True
    assert state is not None
    assert state.registers["x"].value == b"1"


def test_what_a_request_was_brought_stays_until_it_has_had_time_to_open_it() -> None:
    """The store may have seen no access of it for as long as one may have to be idle here."""
    node = evicting()
    node.write(key(1), create=True, x=b"1")
    jump(node, IDLE_S)
    node.fetch(7, key(1))
    node.wait(BROUGHT_STAYS_S - 1)
    assert node.replica.get(key(1)) is not None
    node.wait(3.0)
    assert node.replica.get(key(1)) is None


def test_one_that_is_used_stays() -> None:
    node = evicting()
    node.write(key(1), create=True, x=b"1")
    jump(node, IDLE_S - 10)
    node.commit(Change(key(1), node.at().wall_ms))
    jump(node, IDLE_S - 10)
    assert node.replica.get(key(1)) is not None


def test_without_the_setting_all_stay() -> None:
    node = Stored().up()
    node.write(key(1), create=True, x=b"1")
    jump(node, IDLE_S)
    assert node.replica.get(key(1)) is not None


def test_however_short_the_setting_what_a_request_may_have_open_stays() -> None:
    node = evicting(near_cache_idle_s=0.1)
    node.write(key(1), create=True, x=b"1")
    jump(node, 100.0)
    assert node.replica.get(key(1)) is not None


def test_what_the_store_does_not_hold_so_stays() -> None:
    node = evicting()
    node.write(key(1), create=True, x=b"1")
    node.write(key(2), create=True, x=b"1")
    node.store.sessions[key(1)] = elsewhere([creating(key(1), y=b"2")])[key(1)]
    del node.store.sessions[key(2)]
    jump(node, IDLE_S)
    assert node.replica.get(key(1)) is not None
    assert node.replica.get(key(2)) is not None


def test_with_the_store_away_all_stay() -> None:
    node = evicting()
    node.write(key(1), create=True, x=b"1")
    node.down()
    jump(node, IDLE_S)
    assert node.replica.get(key(1)) is not None


def test_what_stays_on_the_host_keeps_its_session_here() -> None:
    node = evicting()
    node.write(key(1), create=True, x=b"1")
    node.commit(Change(key(1), WALL_MS, {LOCAL_PREFIX + "here": b"1"}))
    jump(node, IDLE_S)
    assert node.replica.get(key(1)) is not None


def test_ends_and_revocations_stay() -> None:
    node = evicting()
    node.write(key(1), create=True, x=b"1")
    node.commit(Change(key(1), WALL_MS, end="invalidated"))
    node.commit(revoke("ann", "", WALL_MS, 1_800_000))
    jump(node, IDLE_S)
    assert node.replica.get(key(1)) is not None
    assert node.replica.get(revocation_key(principal_tag("ann"))) is not None


def test_one_without_an_idle_timeout_stays_because_nobody_records_its_use() -> None:
    node = evicting()
    creation = Creation(WALL_MS, WALL_MS + 86_400_000, 0)
    node.commit(Change(key(1), WALL_MS, {"x": b"1"}, creation=creation))
    jump(node, IDLE_S)
    assert node.replica.get(key(1)) is not None


def test_many_leave_a_part_at_a_time(monkeypatch) -> None:
    monkeypatch.setattr(near_cache, "LOOKED_AT_ONCE", 5)
    monkeypatch.setattr(near_cache, "EVICTED_AT_ONCE", 2)
    monkeypatch.setattr(near_cache, "LOOKS_PER_BEAT", 2)
    node = evicting()
    for number in range(20):
        node.write(key(number), create=True, x=b"1")
    node.now_s += IDLE_S
    node.wait(1.5)
    left = node.replica.stats().sessions
    assert 0 < left < 20
    node.wait(10.0)
    assert node.replica.stats().sessions == 0


def test_from_a_replica_that_is_too_large_those_leave_first_that_were_unused_for_longest() -> None:
    node = evicting(near_cache_bytes_max=2**20)
    for number in (2, 0, 1):
        node.write(key(number), create=True, x=b"1" * 300_000)
        jump(node, 10)
    jump(node, IDLE_S - 200)
    assert node.replica.stats().sessions == 3, "it is not too large"
    node.write(key(3), create=True, x=b"1" * 300_000)
    node.wait(5.0)
    assert [name for name in map(key, range(4)) if node.replica.get(name)] == [
        key(0), key(1), key(3)
    ]


def test_as_many_leave_a_replica_that_is_too_large_as_many_come() -> None:
    node = evicting(near_cache_bytes_max=2**20)
    for number in range(4000):
        node.write(key(number), create=True, x=b"1" * 600)
    node.now_s += IDLE_S / 2
    node.wait(3.0)
    stats = node.replica.stats()
    assert stats.bytes_used <= 2**20
    assert stats.sessions > 500, "no more than need be"


def too_large(**settings: object) -> Stored:
    node = evicting(near_cache_bytes_max=2**20, **settings)
    for number in range(4):
        node.write(key(number), create=True, x=b"1" * 300_000)
    return node


def left(node: Stored) -> list[str]:
    return [name for name in map(key, range(4)) if node.replica.get(name)]


def test_a_replica_that_is_too_large_lets_go_whoever_used_it_last_until_it_fits() -> None:
    node = too_large()
    jump(node, 1.0)
    assert node.replica.stats().bytes_used <= 2**20
    assert len(left(node)) == 3, "no more than need be"
    assert node.engine.store is not None
    near = node.engine.store.near_cache
    assert (near.evicted, near.evicted_early) == (1, 1)
    jump(node, IDLE_S)
    assert (near.evicted, near.evicted_early) == (4, 1)


def test_what_is_watched_stays_in_a_replica_that_is_too_large() -> None:
    node = too_large()
    node.engine.context.is_watched = {key(0), key(1), key(3)}.__contains__
    jump(node, 1.0)
    assert left(node) == [key(0), key(1), key(3)]


def test_what_is_not_confirmed_stays_in_a_replica_that_is_too_large() -> None:
    node = too_large()
    for number in (0, 1, 2):
        del node.store.sessions[key(number)]
    jump(node, 1.0)
    assert key(3) not in left(node)
    assert left(node) == [key(0), key(1), key(2)]


def test_one_without_an_idle_timeout_leaves_a_replica_that_is_too_large() -> None:
    node = too_large()
    creation = Creation(WALL_MS, WALL_MS + 86_400_000, 0)
    node.commit(Change(key(9), WALL_MS, {"x": b"1" * 900_000}, creation=creation))
    jump(node, 5.0)
    assert node.replica.stats().bytes_used <= 2**20


def test_a_broken_connection_does_not_stop_it_for_ever() -> None:
    node = evicting()
    node.write(key(1), create=True, x=b"1")
    node.now_s += IDLE_S
    node.slow = True
    node.wait(1.0)
    node.slow = False
    node.down()
    node.up()
    node.wait(3.0)
    assert node.replica.get(key(1)) is None
