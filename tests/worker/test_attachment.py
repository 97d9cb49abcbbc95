"""The attachment says what keeps it from its work."""

import logging
import sys
from types import SimpleNamespace

import pytest

from clustersession.worker.attachment import _require_threads


@pytest.mark.parametrize(
    ("has_threads", "warned"), [(0, True), (1, False), (None, False)]
)
def test_uwsgi_without_threads_is_named_with_its_flag(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    has_threads: int | None, warned: bool,
) -> None:
    if has_threads is not None:
        monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(has_threads=has_threads))
    with caplog.at_level(logging.WARNING, "clustersession"):
        _require_threads()
    assert ("--enable-threads" in caplog.text) is warned
