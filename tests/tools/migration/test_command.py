"""What an import did is said to people without leaving out what it did not take."""

from typing import Any

import pytest

from clustersession.tools.migration.command import report_text

REPORT: dict[str, Any] = {
    "read": 5, "imported": 3, "updated": 0, "unchanged": 0, "exchanged": 0, "expired": 1, "gone": 0,
    "refused": {"its id is malformed": 1}, "dropped": [{"key": "form", "type": "Form", "count": 2}],
    "peers": 2, "dry_run": False,
}


def test_each_session_that_was_read_is_accounted_for() -> None:
    lines = [line.strip() for line in report_text(REPORT).splitlines()]
    assert lines == [
        "5 read", "3 new here", "1 expired", "1 refused: its id is malformed",
        "2 values dropped: 'form' of type Form", "held by 2 other nodes",
    ]


@pytest.mark.parametrize(("change", "said"), [
    ({"dry_run": True, "peers": None}, "nothing written"), ({"read": 0}, "check the source"),
    ({"peers": None}, "no agent answered"),
])
def test_what_did_not_happen_is_said(change: dict[str, Any], said: str) -> None:
    assert said in report_text({**REPORT, **change})


def test_a_dry_run_does_not_miss_an_agent() -> None:
    assert "agent" not in report_text({**REPORT, "dry_run": True, "peers": None})
