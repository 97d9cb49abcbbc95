"""The straight path of a plain change leaves the same bytes in every table as the general one."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clustersession.core.expiring_values import expiring
from clustersession.core.feed import START
from clustersession.core.revocation import revoke
from clustersession.core.state import (
    IDLE_TIMEOUT,
    LOCAL_PREFIX,
    PRINCIPAL,
    Change,
    SessionState,
    expires_ms,
    highest_time,
    idle_timeout_ms,
)
from clustersession.replica import plain_change, tables
from clustersession.replica import replica as replica_module
from clustersession.replica.decoded import DecodedRecords, Held
from clustersession.replica.engines.contract import StorageEngine
from clustersession.replica.engines.lmdb.engine import LmdbEngine
from clustersession.replica.engines.memory import MemoryEngine, MemoryTransaction
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from clustersession.replica.results import Committed
from tests.replica.conftest import ENGINES
from tests.replica.replica_checks import (
    LIFE_MS,
    NODE_A,
    NODE_B,
    SKEW_MS,
    WALL_MS,
    Open,
    check,
    creation,
    end,
    key_of,
    write,
)

WORKERS = 2
Between = list[Callable[[], object]]

numbers = st.integers(0, 2)
workers = st.integers(0, WORKERS - 1)
values = st.one_of(
    st.binary(max_size=3), st.just(b"x" * 300),
    st.builds(expiring, st.just(b"1"), st.sampled_from((WALL_MS + 1, WALL_MS + 9_000))),
)
names = st.sampled_from(("a", "b", "c", LOCAL_PREFIX + "d"))
telling = st.one_of(
    st.tuples(st.just(IDLE_TIMEOUT), st.sampled_from((b"1000", b"900000", b"0"))),
    st.tuples(st.just(PRINCIPAL), st.sampled_from((b"ann", b"ben"))),
)
plain = st.builds(
    lambda number, sets, deletes, late_ms: (
        Change(key_of(number), WALL_MS + late_ms, sets, tuple(d for d in deletes if d not in sets))
    ),
    numbers, st.dictionaries(names, values, max_size=3), st.lists(names, max_size=2, unique=True),
    st.integers(-5_000, 100_000),
)
told = st.builds(
    lambda number, register, sets: Change(key_of(number), WALL_MS, dict([register, *sets.items()])),
    numbers, telling, st.dictionaries(names, values, max_size=1),
)
changes = st.one_of(
    plain, plain, plain, told,
    st.builds(lambda number, life_ms: creation(number, {"a": b"new"}, life_ms=life_ms),
              numbers, st.sampled_from((LIFE_MS, 20_000))),
    st.builds(end, numbers),
    st.builds(lambda user: revoke(user, key_of(0), WALL_MS, LIFE_MS), st.sampled_from(["ann"])),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), workers, changes),
        st.tuples(st.just("commit"), workers, plain),
        st.tuples(st.just("commit"), workers, plain),
        st.tuples(st.just("race"), workers, plain, changes),
        st.tuples(st.just("retry"), workers),
        st.tuples(st.just("peer"), workers, changes),
        st.tuples(st.just("sweep"), workers),
        st.tuples(st.just("renew"), workers),
        st.tuples(st.just("tick"), st.sampled_from((-2_000, 1, 10_000, 30_000, 2 * SKEW_MS))),
    ),
    min_size=8,
    max_size=50,
)


class Forgetful(DecodedRecords):
    """Knows no session beforehand, so that every commit takes the general path."""

    def newest(self, key: str) -> Held | None:
        return None


class Host:
    """A replica with some workers, each with what it remembers of its own."""

    def __init__(self, engine: StorageEngine, *, straight: bool) -> None:
        self.engine = engine
        self.between: Between = []
        begin = engine.write

        def write_after_others(*, leaving: float = 0.0) -> AbstractContextManager[object]:
            # Another worker is first, after this one has prepared its change.
            if self.between:
                self.between.pop()()
            return begin(leaving=leaving)

        engine.write = write_after_others  # type: ignore[method-assign,assignment]
        self.workers = [
            Replica(engine, lambda: NODE_A, clock_skew_ms_max=SKEW_MS, ends_at_once=1)
            for _ in range(WORKERS)
        ]
        if not straight:
            for worker in self.workers:
                worker._decoded = Forgetful()

    def bytes(self) -> list[list[tuple[bytes, bytes]]]:
        with self.engine.read() as transaction:
            return [
                list(transaction.scan(table, b"")) for table in range(len(tables.TABLE_NAMES))
            ]


class Hosts:
    """The same history twice, and a peer whose batches come to both."""

    def __init__(self, straight: Host, general: Host) -> None:
        self.straight, self.general = straight, general
        self.peer = open_memory(NODE_B, clock_skew_ms_max=SKEW_MS)
        self.wall_ms = WALL_MS
        self.last: Change = write(0, a=b"0")
        self.lives = 0

    def both(self, act: Callable[[Host], object]) -> None:
        assert act(self.straight) == act(self.general)
        assert self.straight.bytes() == self.general.bytes()
        for worker in self.straight.workers:
            for number in range(3):
                self.check_known(worker, key_of(number))

    def check_known(self, worker: Replica, key: str) -> None:
        held = worker._decoded.newest(key)
        if held is not None:
            fresh = tables.state_of_record(held[0])
            assert fresh is not None
            assert held[1] == fresh
            for follows in (expires_ms, highest_time, idle_timeout_ms):
                assert follows(held[1]) == follows(fresh)

    def do_commit(self, worker: int, change: Change) -> None:
        self.last = change

        def commit(host: Host) -> Committed:
            # As the request that makes the change has read the session before.
            host.workers[worker].get(change.key)
            return host.workers[worker].commit([change], self.wall_ms)

        self.both(commit)

    def do_race(self, worker: int, change: Change, first: Change) -> None:
        other = (worker + 1) % WORKERS

        def commit(host: Host) -> Committed:
            host.workers[worker].get(change.key)
            host.between.append(lambda: host.workers[other].commit([first], self.wall_ms))
            return host.workers[worker].commit([change], self.wall_ms)

        self.both(commit)

    def do_retry(self, worker: int) -> None:
        self.do_commit(worker, self.last)

    def do_peer(self, worker: int, change: Change) -> None:
        self.peer.merge(self.straight.workers[0].snapshot("", 2**30).sessions, self.wall_ms)
        self.peer.commit([change], self.wall_ms)
        cursor = self.straight.workers[0].cursors().get(NODE_B, START)
        batch = self.peer.feed(cursor.floor, cursor.position, 2**30)
        self.both(lambda host: host.workers[worker].apply(batch, self.wall_ms))

    def do_sweep(self, worker: int) -> None:
        self.both(lambda host: host.workers[worker].sweep(self.wall_ms, 10))

    def do_renew(self, worker: int) -> None:
        self.lives += 1
        node = b"node-%03d" % self.lives
        floor = self.straight.workers[0].head() // 2
        self.both(lambda host: host.workers[worker].renew_identity(node, floor))

    def do_tick(self, by_ms: int) -> None:
        self.wall_ms += by_ms

    def run(self, step: tuple[object, ...]) -> None:
        getattr(self, f"do_{step[0]}")(*step[1:])


@contextmanager
def open_hosts(kind: str) -> Iterator[Hosts]:
    with ExitStack() as stack:
        engines: list[StorageEngine] = []
        for _ in range(2):
            if kind == "memory":
                engines.append(MemoryEngine())
            else:
                directory = stack.enter_context(tempfile.TemporaryDirectory())
                engines.append(LmdbEngine(Path(directory), 2**24))
            stack.callback(engines[-1].close)
        yield Hosts(Host(engines[0], straight=True), Host(engines[1], straight=False))


@pytest.mark.parametrize("kind", ENGINES)
@settings(
    max_examples=100, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(history=steps)
def test_both_paths_leave_the_same_bytes(kind: str, history: list[tuple[object, ...]]) -> None:
    with open_hosts(kind) as hosts:
        hosts.do_commit(0, creation(0, {"a": b"first"}))
        hosts.do_commit(1, creation(1, {PRINCIPAL: b"ann"}))
        for step in history:
            hosts.run(step)
        hosts.both(lambda host: [*iter(host.workers[0].end_revoked, None)])
        check(hosts.straight.workers[0])


@pytest.fixture
def straight_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on there is no general path."""

    def take_away() -> None:
        monkeypatch.setattr(replica_module, "RecordWriter", None)

    return take_away


@pytest.mark.parametrize("sets", [{"a": b"1"}, {"a": b"1", "b": b"2"}])
@pytest.mark.parametrize("user", [None, b"ann"])
def test_a_plain_change_takes_the_straight_path(
    replica: Replica, straight_only: Callable[[], None], sets: dict[str, bytes], user: bytes | None
) -> None:
    replica.commit([creation(1, {"b": b"0"} if user is None else {PRINCIPAL: user})], WALL_MS)
    straight_only()
    for wall_ms in (WALL_MS, WALL_MS - 1, WALL_MS + 60_000):
        state = replica.commit([write(1, wall_ms=wall_ms, **sets)], wall_ms).states[0]
        assert state is not None
        assert {name: state.registers[name].value for name in sets} == sets
        assert replica.get(key_of(1)) == state
    check(replica)


def test_what_a_sibling_wrote_meanwhile_is_kept() -> None:
    host = Host(MemoryEngine(), straight=True)
    one, other = host.workers
    one.commit([creation(1)], WALL_MS)
    host.between.append(lambda: other.commit([write(1, b=b"theirs")], WALL_MS))
    state = one.commit([write(1, a=b"ours")], WALL_MS).states[0]
    assert state is not None
    assert {n: r.value for n, r in state.registers.items() if n in "ab"} == {
        "a": b"ours", "b": b"theirs"
    }
    check(one)


def test_a_logout_meanwhile_wins() -> None:
    host = Host(MemoryEngine(), straight=True)
    one, other = host.workers
    one.commit([creation(1, {PRINCIPAL: b"ann"})], WALL_MS)
    for first in (revoke("ann", "", WALL_MS, LIFE_MS), end(1)):
        host.between.append(partial(other.commit, [first], WALL_MS))
        assert not one.commit([write(1, a=b"1")], WALL_MS).effective
    check(one)


def test_a_session_whose_turn_to_be_ended_has_not_come_takes_nothing() -> None:
    host = Host(MemoryEngine(), straight=True)
    one = host.workers[0]
    one.commit([creation(number, {PRINCIPAL: b"ann"}) for number in range(3)], WALL_MS)
    one.commit([revoke("ann", "", WALL_MS, LIFE_MS)], WALL_MS)
    for number in range(3):
        assert not one.commit([write(number, a=b"1")], WALL_MS + 1).effective
    assert [*iter(one.end_revoked, None)]
    check(one)


def test_a_user_who_logged_in_again_after_a_revocation_is_looked_at(replica: Replica) -> None:
    replica.commit([revoke("ann", "", WALL_MS, LIFE_MS)], WALL_MS)
    replica.commit([creation(1, {PRINCIPAL: b"ann"})], WALL_MS + 1)
    assert replica.commit([write(1, a=b"1")], WALL_MS + 2).effective
    check(replica)


def test_a_transaction_that_fails_is_not_remembered(open_replica: Open) -> None:
    engine = MemoryEngine()
    replica = Replica(engine, lambda: NODE_A, clock_skew_ms_max=SKEW_MS)
    replica.commit([creation(1, {"a": b"0"})], WALL_MS)
    before = replica.get(key_of(1))
    begin = engine.write

    @contextmanager
    def failing(*, leaving: float = 0.0) -> Iterator[MemoryTransaction]:
        with begin(leaving=leaving) as transaction:
            yield transaction
            raise OSError

    engine.write = failing  # type: ignore[method-assign,assignment]
    with pytest.raises(OSError):
        replica.commit([write(1, a=b"1")], WALL_MS)
    engine.write = begin  # type: ignore[method-assign]
    assert replica.get(key_of(1)) == before
    assert replica.commit([write(1, a=b"2")], WALL_MS).effective
    check(replica)


def test_many_attributes_are_left_to_the_general_path() -> None:
    decoded = DecodedRecords()
    state = SessionState(WALL_MS, WALL_MS, WALL_MS + LIFE_MS)
    decoded.note(key_of(1), tables.encode_record(1, 0, 0, state), state)
    change = write(1, **{f"a{n}": b"1" for n in range(plain_change.NAMES_MAX)})
    assert plain_change.prepare([change], decoded, NODE_A) is not None
    for other in (
        replace(change, deletes=("b",)), replace(change, end="invalidated"), write(1), end(1),
        creation(1), write(2, a=b"1"), write(1, **{PRINCIPAL: b"ann"}),
        replace(write(1, a=b"1"), deletes=(IDLE_TIMEOUT,)), write(1, **{"n" * 2000: b""}),
    ):
        assert plain_change.prepare([other], decoded, NODE_A) is None
    assert plain_change.prepare([change, change], decoded, NODE_A) is None
