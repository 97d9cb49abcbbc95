"""Whoever changes a format has to record it: older versions are judged by recordings alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clustersession.wire.messages import PROTOCOL_VERSION
from tests.versions import record
from tests.versions.conftest import Recording
from tests.versions.formats import formats_now

ADVICE = f"""the {{}} are not those recorded as v{PROTOCOL_VERSION}. If that version was released:
 1. append only: a new field of a message has a default, numbers are never used twice;
 2. raise PROTOCOL_VERSION in clustersession/wire/messages.py by one, and PROTOCOL_VERSION_MIN only
    to end rolling upgrades from older releases; for tables also LAYOUT in replica/tables.py;
 3. python -m tests.versions.record, and commit the new directory beside the old ones;
 4. say so in CHANGELOG.md and in docs/protocol.md.
If it was not released yet: python -m tests.versions.record --replace."""


def without(part: dict[str, Any], name: str) -> dict[str, Any]:
    """Settings may come and go: an agent leaves out what it does not know."""
    return {key: value for key, value in part.items() if key != name}


@pytest.fixture
def newest() -> Recording:
    directory = record.RECORDINGS / f"v{PROTOCOL_VERSION}"
    assert directory.is_dir(), f"v{PROTOCOL_VERSION} has no recording: {ADVICE.format('formats')}"
    return Recording(directory)


@pytest.mark.parametrize(
    "part", [record.messages, record.records, record.datagrams, record.connections,
             record.cookies, record.values],
)
def test_bytes_are_those_recorded(newest: Recording, part: Callable[[], Any]) -> None:
    assert part() == newest[part.__name__], ADVICE.format(part.__name__)


def test_formats_are_those_recorded(newest: Recording) -> None:
    now, recorded = without(formats_now(), "settings"), without(newest["formats"], "settings")
    changed = [name for name in now if now[name] != recorded.get(name)]
    assert not changed, ADVICE.format(", ".join(changed))
    assert without(record.local(), "start") == without(newest["local"], "start"), ADVICE.format(
        "requests and answers of workers and agent"
    )


def test_the_store_is_as_recorded(newest: Recording, tmp_path: Path) -> None:
    now, recorded = record.stored(tmp_path), newest["store"]
    assert (now["tables"], now["boot"]) == (recorded["tables"], recorded["boot"]), ADVICE.format(
        "tables of the store"
    )
