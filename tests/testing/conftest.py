"""Tests of what tests use: each in a directory of its own, as for the users of it."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from clustersession.testing import isolated

with warnings.catch_warnings():
    # Starlette wants another HTTP client by now; older ones know only httpx, which we test with.
    warnings.simplefilter("ignore")
    import starlette.testclient  # noqa: F401

    # WebOb still imports cgi, of which Python warns.
    import webtest  # noqa: F401


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in list(os.environ):
        if name.startswith("CLUSTERSESSION_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of the developer"))
    with isolated() as place:
        yield place
    assert not place.exists()
    assert not (tmp_path / "of the developer").exists()
