"""Every adapter test has its own state directories, and nothing of the caller's environment."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters import modes

with warnings.catch_warnings():
    # Starlette wants another HTTP client by now; older ones know only httpx, which we test with.
    warnings.simplefilter("ignore")
    import starlette.testclient  # noqa: F401

with warnings.catch_warnings():
    # webob imports cgi where there is one, and Pyramid pkg_resources.
    warnings.simplefilter("ignore")
    import pyramid.config  # noqa: F401


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in list(os.environ):
        if name.startswith("CLUSTERSESSION_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("CLUSTERSESSION_ROUTE", "a")
    monkeypatch.setenv("CLUSTERSESSION_MAP_BYTES", str(2**26))
    return tmp_path


@pytest.fixture(autouse=True, scope="module")
def spares() -> Iterator[None]:
    """End the peers that wait for the next test of a file."""
    yield
    modes.close_spares()


@pytest.fixture(autouse=True, scope="session")
def servers() -> Iterator[None]:
    """End what tests of modes have started, at the very end."""
    yield
    modes.close()
