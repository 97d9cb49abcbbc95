"""The bytes this tree writes are those recorded for its version."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.versions import conversation, record
from tests.versions.conftest import Recording
from tests.versions.formats import ADVICE


@pytest.mark.parametrize(
    "part", [record.messages, record.records, record.datagrams, record.connections,
             record.cookies, record.values],
)
def test_bytes_are_those_recorded(newest: Recording, part: Callable[[], Any]) -> None:
    assert part() == newest[part.__name__], ADVICE.format(part.__name__)


def test_what_worker_and_agent_say_is_as_recorded(newest: Recording) -> None:
    now, recorded = record.local(), newest["local"]
    for name in ("requests", "answers", "views"):
        assert now[name] == recorded[name], ADVICE.format(f"{name} of workers and agent")


def test_the_store_is_as_recorded(newest: Recording, tmp_path: Path) -> None:
    now, recorded = record.stored(tmp_path), newest["store"]
    assert (now["tables"], now["boot"]) == (recorded["tables"], recorded["boot"]), ADVICE.format(
        "tables of the store"
    )


def test_a_conversation_can_be_recorded() -> None:
    """Nothing else plays this scene before somebody changes a format."""
    first, *calls, last = conversation.record()
    assert set(first["nodes"]) == set(last["ends"]) == set("abc")
    assert {call["call"] for call in calls} >= set(conversation.CALLS)
