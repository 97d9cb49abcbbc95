"""What an import writes, repeats and refuses."""

from typing import Any

import pytest

from clustersession.core.state import ENDED_ROTATED, Change, expires_ms, principal_of
from clustersession.replica.opening import open_memory
from clustersession.replica.store import ReplicaStore
from clustersession.session.events import decoded
from clustersession.session.legacy import record_key
from clustersession.settings.settings import Settings
from clustersession.tools.migration.importing import Importer, Report
from clustersession.tools.migration.old_stores import OldSession, Refused

NOW = 1_700_000_000_000
KEY = record_key("an-old-id-of-16-characters")
OTHER = record_key("another-old-id-of-16-characters")


@pytest.fixture
def replica() -> ReplicaStore:
    return open_memory(b"nodenode", clock_skew_ms_max=300_000)


def run(
    replica: ReplicaStore, *found: OldSession | Refused, now: int = NOW, **options: Any
) -> Report:
    settings = Settings(**options.pop("settings", {}))
    importer = Importer(replica, settings, "a", wall_ms=lambda: now, **options)
    return importer.run(found, print)


def old(key: str = KEY, left_ms: int | None = 3_600_000, **values: Any) -> OldSession:
    return OldSession(key, values, None if left_ms is None else NOW + left_ms)


def test_a_session_becomes_a_record_that_lives_as_long(replica: ReplicaStore) -> None:
    report = run(replica, old(user=7, cart=["tea"]), principal_key="user")
    state = replica.get(KEY)
    assert state is not None
    assert decoded(state) == {"user": 7, "cart": ["tea"]}
    assert principal_of(state) == "7"
    assert NOW + 3_590_000 < expires_ms(state) <= NOW + 3_600_000
    assert (report.read, report.imported) == (1, 1)


def test_a_dry_run_writes_nothing_and_counts_the_same(replica: ReplicaStore) -> None:
    assert run(replica, old(a=1), dry_run=True).imported == 1
    assert replica.get(KEY) is None


def test_a_second_run_brings_up_to_date(replica: ReplicaStore) -> None:
    run(replica, old(a=1, b=2))
    assert run(replica, old(a=1, b=2)).unchanged == 1
    assert run(replica, old(a=3)).updated == 1
    state = replica.get(KEY)
    assert state is not None
    assert decoded(state) == {"a": 3}
    assert run(replica, old(a=3, left_ms=7_200_000)).updated == 1


def test_what_was_exchanged_is_never_written_again(replica: ReplicaStore) -> None:
    run(replica, old(a=1))
    replica.commit([Change(KEY, NOW, end=ENDED_ROTATED)], NOW)
    report = run(replica, old(a=2))
    assert (report.exchanged, report.updated, report.imported) == (1, 0, 0)
    state = replica.get(KEY)
    assert state is not None
    assert state.ended is not None
    # As long as anything that was imported could live.
    assert expires_ms(state) >= NOW + 90 * 86_400_000


def test_a_session_that_is_gone_from_the_old_store_is_ended(replica: ReplicaStore) -> None:
    run(replica, old(a=1), old(OTHER, a=1))
    assert run(replica, old(a=1), keep_gone=True).gone == 0
    assert run(replica, now=NOW + 1).gone == 0  # nothing read: more likely the wrong store
    assert run(replica, old(a=1), now=NOW + 1).gone == 1
    gone = replica.get(OTHER)
    assert gone is not None
    assert gone.ended is not None


def test_records_of_another_source_are_left_alone(replica: ReplicaStore) -> None:
    run(replica, old(a=1))
    importer = Importer(replica, Settings(), "b", wall_ms=lambda: NOW)
    assert importer.run([old(OTHER, a=1)], print).gone == 0


def test_what_cannot_be_kept_is_dropped_and_counted(replica: ReplicaStore) -> None:
    odd = OldSession(KEY, {"a": 1, "odd": object(), 5: 6, "\x00principal": "root"}, NOW + 1000)
    report = run(replica, odd)
    assert dict(report.dropped) == {("odd", "object"): 1, ("(a key that is no text)", "int"): 1,
                                    ("(a key that is no text)", "str"): 1}
    state = replica.get(KEY)
    assert state is not None
    assert decoded(state) == {"a": 1}
    assert principal_of(state) is None


def test_hostile_values_cost_little(replica: ReplicaStore) -> None:
    bomb: list[Any] = []
    for _ in range(60):
        bomb = [bomb, bomb]
    loop: list[Any] = []
    loop.append(loop)
    shared = ["x" * 100_000]
    for value in (bomb, loop, [shared] * 1000):
        report = run(replica, old(value=value))
        assert sum(report.refused.values()) == 1, report
    assert replica.get(KEY) is None


def test_limits_hold(replica: ReplicaStore) -> None:
    small = {"attribute_bytes_max": 100, "session_bytes_max": 200}
    assert run(replica, old(a="x" * 150), settings=small).dropped == {("a", "str"): 1}
    report = run(replica, old(OTHER, a="x" * 80, b="x" * 80, c="x" * 80), settings=small)
    assert sum(report.refused.values()) == 1


def test_expired_ones_are_counted(replica: ReplicaStore) -> None:
    assert run(replica, old(left_ms=0)).expired == 1
