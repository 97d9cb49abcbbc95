"""Every test of two versions runs once for each recording."""

import json
from pathlib import Path
from typing import Any

import pytest

from clustersession.wire.messages import PROTOCOL_VERSION
from tests.versions.formats import ADVICE
from tests.versions.old_reader import RECORDINGS, OldReader


class Recording:
    """One recorded version."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reader = OldReader(directory)

    def __getitem__(self, part: str) -> Any:
        return json.loads((self.directory / f"{part}.json").read_text())


@pytest.fixture
def newest() -> Recording:
    """The recording that this tree must agree with."""
    directory = RECORDINGS / f"v{PROTOCOL_VERSION}"
    assert directory.is_dir(), ADVICE.format("formats")
    return Recording(directory)


@pytest.fixture(params=sorted(p.name for p in RECORDINGS.iterdir()))
def recording(request: pytest.FixtureRequest) -> Recording:
    """A recorded version; the newest is that of this tree."""
    return Recording(RECORDINGS / request.param)
