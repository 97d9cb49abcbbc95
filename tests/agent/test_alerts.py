"""Each alert of the example fires when it should, and none for a healthy node: by Prometheus."""

import pytest

from clustersession.agent.worker_counts import COUNTS
from tests.agent.metrics_example import EXAMPLE, JOURNAL, RECOVERY, STORE, member, text
from tests.support.alerting import Scrape, alert_names, firing, lasting, scraped

STORED = {
    **EXAMPLE, "phase": "ready", "members": [member(1, clock_skew_ms=0), member(2)],
    "work": dict.fromkeys(COUNTS, 0), "replica_bytes": 1,
    "map_bytes": 100, "disk_free_bytes": 2**40,
}
HEALTHY = {name: value for name, value in STORED.items() if name != "store"}
A_MINUTE_LATER = {**dict.fromkeys(COUNTS, 0), "commits": 7000, "touches": 100, "strayed": 100}
ILL = {
    "ClustersessionNodeLost": {"members": [member(1), member(2, "dead")]},
    "ClustersessionAlone": {"members": []},
    "ClustersessionNotReady": {"phase": "joining"},
    "ClustersessionPeerBehind": {"members": [member(1), member(2, behind_us=2000)]},
    "ClustersessionWritesUnconfirmed": {"work": {**A_MINUTE_LATER, "unconfirmed": 60}},
    "ClustersessionReplicaFull": {"work": {**A_MINUTE_LATER, "replica_full": 1}},
    "ClustersessionJournalAway": {"journal": {**JOURNAL, "failed": "No space left on device"}},
    "ClustersessionRecoveryWaits": {
        "recovery": {**RECOVERY, "stage": "waiting for members", "missing": {"00": "b"}}
    },
    "ClustersessionClockSkewed": {"members": [member(1), member(2, clock_skew_ms=-3000)]},
    "ClustersessionStrangers": {"connections_refused": {"hello": 120}},
    "ClustersessionStraying": {"work": {**A_MINUTE_LATER, "strayed": 2000}},
    "ClustersessionStoreAway": {
        "store": {**STORE, "state": "away", "behind": 900, "oldest_s": 500.0}
    },
    "ClustersessionStoreOutboxGrows": {"store": {**STORE, "behind": 900, "oldest_s": 500.0}},
    "ClustersessionStoreDropsKeys": {"store": {**STORE, "dropped": 7}},
    "ClustersessionCacheTooLarge": {"replica_bytes": 2**31, "map_bytes": 0},
}


def alerts(
    ill: dict[str, object], healthy: dict[str, object] = HEALTHY
) -> frozenset[str]:
    """What fires when a healthy node has become so, and stays so."""
    statuses = [healthy, healthy, {**healthy, "work": A_MINUTE_LATER, **ill}]
    return firing(lasting(*(
        Scrape(60.0 * number, scraped(text(status), "tomcat1"))
        for number, status in enumerate(statuses)
    )))


def test_none_fires_for_a_healthy_node() -> None:
    assert alerts({}) == frozenset()
    assert alerts({}, STORED) == frozenset()


@pytest.mark.parametrize("name", alert_names())
def test_each_fires_for_what_it_is_about_and_no_other_does(name: str) -> None:
    with_store = "Store" in name or "Cache" in name
    assert alerts(ILL[name], STORED if with_store else HEALTHY) == {name}


@pytest.mark.parametrize("space", [{"replica_bytes": 95}, {"disk_free_bytes": 2**25}])
def test_little_space_is_told_before_there_is_none(space: dict[str, object]) -> None:
    assert alerts(space) == {"ClustersessionReplicaFull"}


def test_a_store_that_is_behind_for_a_moment_under_load_is_no_alarm() -> None:
    late = {**STORE, "behind": 900, "oldest_s": 1.5}
    assert alerts({"store": late}, STORED) == frozenset()


def test_one_host_with_a_store_is_not_alone() -> None:
    assert alerts({"members": []}, STORED) == frozenset()


def test_without_a_store_nothing_is_said_of_one() -> None:
    assert "clustersession_store" not in "".join(scraped(text(HEALTHY), "tomcat1"))
    assert "clustersession_store_up" in "".join(scraped(text(STORED), "tomcat1"))


def test_a_drain_for_a_restart_is_no_alarm() -> None:
    assert alerts({"phase": "draining"}) == frozenset()
