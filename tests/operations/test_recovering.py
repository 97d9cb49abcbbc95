"""An operator looks at a recovery, and does without a member."""

from pathlib import Path
from typing import Any

import pytest

from clustersession.operations import recovering
from clustersession.operations.recovering import (
    NothingToRecover,
    do_without,
    recovery,
    recovery_text,
)
from clustersession.replica.home import NodeHome
from clustersession.wire.local import Operation

WAITS: dict[str, Any] = {
    "stage": "waiting for members", "missing": {"00ff00ff": "b", "11ff": "c"}, "merged": 0,
    "left_s": 12.0,
}
OVER: dict[str, Any] = {"stage": "over", "missing": {}, "merged": 7, "left_s": None}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    asked: list[object] = []

    def ask(home: NodeHome, operation: Operation, *argument: object) -> Any:
        if operation is Operation.STATUS:
            return {"recovery": OVER if asked else WAITS}
        asked.append((operation, *argument))
        return True

    monkeypatch.setattr(recovering, "ask_agent", ask)
    return asked


@pytest.mark.parametrize("name", ["b", "00ff", "00ff00ff"])
def test_a_member_is_named_by_route_or_node(asked: list[object], tmp_path: Path, name: str) -> None:
    assert do_without(NodeHome(tmp_path), [name]) == OVER
    assert asked == [(Operation.DISMISS, [bytes.fromhex("00ff00ff")])]


def test_somebody_who_is_not_missing_is_not_given_up(asked: list[object], tmp_path: Path) -> None:
    with pytest.raises(NothingToRecover, match=r"d is not waited for; .* b \(00ff00ff\), c"):
        do_without(NodeHome(tmp_path), ["d"])
    assert asked == []


def test_it_says_how_far_it_is() -> None:
    assert recovery_text(OVER) == "nothing waits; 7 changes were recovered"
    assert recovery_text({**OVER, "merged": 0}) == "nothing waits"
    assert recovery_text({**WAITS, "stage": "merging", "missing": {}}) == "merging"


def test_without_an_agent_there_is_nothing_to_ask(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(NothingToRecover, match="no agent"):
        recovery(NodeHome(tmp_path))
    monkeypatch.setattr(recovering, "ask_agent", lambda home, operation: {})
    with pytest.raises(NothingToRecover, match="keeps no journal"):
        recovery(NodeHome(tmp_path))
