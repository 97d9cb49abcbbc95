"""The attachment says what keeps it from its work."""

import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from clustersession.replica.home import NodeHome
from clustersession.settings.settings import Settings
from clustersession.tools.demo.processes import wait_for
from clustersession.worker import attachment, launch
from clustersession.worker.attachment import Attachment, _require_threads


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


def test_an_agent_that_nobody_starts_is_missed_once_it_should_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(attachment, "RETRY_S_MIN", 0.01)
    monkeypatch.setattr(attachment, "RETRY_S_MAX", 0.04)
    monkeypatch.setattr(launch, "_complained_s", {})
    home = NodeHome(tmp_path / "shop.a.0123456789ab")
    tested = Attachment(Settings(distributable=True, route="a", agent="external"), home)
    try:
        wait_for(lambda: caplog.records, "the log")
        wait_for(lambda: tested._thread.is_alive(), "the thread")
    finally:
        tested.stop()
    (record,) = caplog.records
    assert str(home.agent_socket) in record.getMessage()
    assert "same secret" in record.getMessage()
