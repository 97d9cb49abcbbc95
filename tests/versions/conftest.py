"""Every test of two versions runs once for each recording."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.versions.old_reader import OldReader
from tests.versions.record import RECORDINGS


class Recording:
    """One recorded version."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reader = OldReader(directory)

    def __getitem__(self, part: str) -> Any:
        return json.loads((self.directory / f"{part}.json").read_text())


@pytest.fixture(params=sorted(p.name for p in RECORDINGS.iterdir()))
def recording(request: pytest.FixtureRequest) -> Recording:
    """A recorded version; the newest is that of this tree."""
    return Recording(RECORDINGS / request.param)
