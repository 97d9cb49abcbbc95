"""The benchmark of many hosts: what a write costs is told for each number of them."""

import pytest

from benchmarks.store_hosts import Cost, measure, result_of
from tests.support.processes import require_programs

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


def test_what_hosts_and_store_use_is_measured() -> None:
    require_programs("redis-server")
    cost = measure(2, 100.0, 1.0)
    assert cost.hosts == 2
    assert 0 < cost.writes_per_s <= 100
    assert all(one > 0 for one in (*cost.idle[2:], *cost.added))


def test_a_write_of_many_is_compared_with_one_of_two_that_are_as_busy() -> None:
    idle = (0.01, 0.01, 1000.0, 30.0)
    few = Cost(2, idle, (0.1, 0.01, 1000.0, 10.0), 10.0)
    many = Cost(30, idle, (0.3, 0.02, 3000.0, 20.0), 10.0)
    result = result_of([(few, None), (many, few)])
    ratios = [round(target.measured, 3) for target in result.targets[:4]]
    assert ratios == [3.0, 2.0, 3.0, 2.0]
    assert [target.met for target in result.targets] == [False, False, False, False, True]
