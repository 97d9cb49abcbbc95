"""Every adapter test has its own state directories, and nothing of the caller's environment."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

with warnings.catch_warnings():
    # Starlette wants another HTTP client by now; older ones know only httpx, which we test with.
    warnings.simplefilter("ignore")
    import starlette.testclient  # noqa: F401


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in list(os.environ):
        if name.startswith("CLUSTERSESSION_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("CLUSTERSESSION_ROUTE", "a")
    monkeypatch.setenv("CLUSTERSESSION_MAP_BYTES", str(2**26))
    return tmp_path
