"""The attachment says what keeps it from its work."""

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from clustersession import __version__
from clustersession.core.counters import Counters
from clustersession.net.agent_link import BlockingLink
from clustersession.replica.home import NodeHome
from clustersession.settings.settings import AgentMode, Settings
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


@pytest.mark.parametrize(
    ("status", "agent", "goes"),
    [
        ({"store_mark": "", "workers": []}, "process", True),
        ({"store_mark": "0123", "workers": []}, "process", True),
        ({"store_mark": "0123", "workers": [7]}, "process", False),
        ({"store_mark": "0123", "workers": []}, "external", False),
        ({"store_mark": None, "workers": [7]}, "process", False),
        # It knows the store, but could not read what is sealed by a secret that has come since.
        ({"store_mark": None, "workers": []}, "process", True),
    ],
)
def test_an_agent_with_another_store_goes_when_nobody_uses_it_any_more(
    status: dict[str, Any], agent: AgentMode, goes: bool, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(
        distributable=True, agent=agent, store="valkey://:p4ssw0rd@db", secret=("s" * 32, "o" * 32)
    )
    if same := status["store_mark"] is None:
        status["store_mark"] = settings.store_marks[1]
    tested = Attachment.__new__(Attachment)
    tested._settings, tested._starts_in_thread = settings, False
    link = SimpleNamespace(ask=lambda *_, timeout_s: {"version": __version__, **status})
    assert tested._is_outdated(cast(BlockingLink, link)) is goes
    assert len(caplog.records) == (not goes and not same)
    assert len(set(settings.store_marks)) == 2


def test_each_count_is_told_once(tmp_path: Path) -> None:
    told: list[dict[str, int]] = []
    link = SimpleNamespace(tell=lambda _, news: told.append(news))
    settings = Settings(agent="external", route="a", secret=("s" * 32,))
    attached = Attachment(settings, NodeHome(tmp_path / "shop.a.0123456789ab"))
    try:
        first, second = Counters(commits=1), Counters(commits=2)
        for counters in (first, second):
            attached.count(counters)
        first.commit.add(80_000)
        attached._tell_counts(cast(BlockingLink, link))
        second.commits += 4
        attached._tell_counts(cast(BlockingLink, link))
        attached._tell_counts(cast(BlockingLink, link))
    finally:
        attached.stop()
    assert told == [{"commits": 3, "commit_us_100": 1, "commit_us": 80}, {"commits": 4}]
