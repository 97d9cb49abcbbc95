"""What people see of a journal and of a recovery."""

from typing import Any

from clustersession.tools.journal_view import journal_text, journal_word, recovery_line
from tests.agent.metrics_example import JOURNAL, RECOVERY


def test_a_journal_is_said_in_a_line() -> None:
    status: dict[str, Any] = {"journal": JOURNAL}
    assert journal_word(status) == "second"
    assert journal_text(status) == "second, 100 bytes"
    fresh = {"journal": {**JOURNAL, "synced_s_ago": None}}
    assert journal_text(fresh) == "second, 100 bytes, nothing on the disk yet"
    away = {"journal": {**JOURNAL, "failed": "No space left on device"}}
    assert journal_text(away).startswith("AWAY: No space left on device; ")
    assert journal_text({"journal": {"durability": "none"}}) == "none"
    assert journal_text({}) == "", "by an older agent"


def test_a_recovery_is_told_while_it_lasts() -> None:
    assert recovery_line({}) == recovery_line({"recovery": RECOVERY}) == ""
    waits = {"stage": "waiting for members", "missing": {"00ff": "b"}, "merged": 0, "left_s": 300.2}
    assert recovery_line({"recovery": waits}) == (
        "waiting for members; waits for b (00ff), at most 300 s more"
    )
