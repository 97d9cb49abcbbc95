"""The benchmark of many sessions: all are found, and the host keeps few of them."""

import pytest

from benchmarks.store_million import SMALL, measure
from tests.support.processes import require_programs

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


def test_a_host_walks_through_more_sessions_than_it_keeps_and_finds_each() -> None:
    require_programs("redis-server")
    result = measure(SMALL)
    found = {target.what: target.measured for target in result.targets}
    assert found["walked and not found"] == 0
    assert max(sessions for _, sessions, _ in result.raw["course"]) < SMALL.sessions
    assert result.raw["redis_bytes_per_session"] > 100
