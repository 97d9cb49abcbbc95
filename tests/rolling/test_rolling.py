"""One node drained and one killed, under load. Every server and way: ``make rolling``."""

from pathlib import Path

import pytest

from tests.rolling.run import Result, roll
from tests.support.processes import require_programs

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]

ATTEMPTS = 2


def test_nobody_loses_a_session_or_a_write_when_nodes_are_restarted(tmp_path: Path) -> None:
    require_programs("haproxy")
    # The wait for a confirmation is bounded, see tests/faults/test_faults.py.
    for attempt in range(ATTEMPTS):
        directory = tmp_path / str(attempt)
        directory.mkdir()
        result = roll("uvicorn-workers", "drain and kill", ["SIGTERM", "kill -9"], directory)
        assert result.verdict.acknowledged > 500
        if not result.failures:
            break
    assert not result.failures
    assert_only_the_killed_were_cut_short(result)


def assert_only_the_killed_were_cut_short(result: Result) -> None:
    """At most what each of the browsers had under way, once for each kill."""
    assert result.verdict.refused == 0
    assert sum(result.errors.values()) <= 16, result.errors
