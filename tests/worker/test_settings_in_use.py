"""Processes of one node that do not agree are told so, with both values, while it is so."""

import multiprocessing
import os
import signal
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from clustersession.settings.settings import Settings
from clustersession.settings.sources import TEST_STATE_DIR_VARIABLE
from clustersession.testing import isolated
from clustersession.worker.runtime import Runtime
from clustersession.worker.settings_in_use import OF_EACH_PROCESS, OF_THE_AGENT

SECRET = "qT8w-Lz3Rk5_vN0xYb7d"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        # The process that a test spawns has pytest loaded, and is to go by the settings as well.
        if name.startswith("CLUSTERSESSION_") and name != TEST_STATE_DIR_VARIABLE:
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def opened(**options: Any) -> Runtime:
    runtime = Runtime(Settings(route="a", map_bytes=2**26, secret=(SECRET,), **options))
    runtime.manager()
    return runtime


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    texts = [r.getMessage() for r in caplog.records if "other settings" in r.getMessage()]
    caplog.clear()
    return texts


def test_the_sets_name_settings() -> None:
    names = {field.name for field in fields(Settings)}
    assert names > OF_EACH_PROCESS | OF_THE_AGENT
    assert not OF_EACH_PROCESS & OF_THE_AGENT
    hidden = {field.name for field in fields(Settings) if not field.repr}
    assert hidden <= OF_EACH_PROCESS, "no secret is written into a file"


def test_both_values_are_named_once_and_only_while_both_are_in_use(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = opened(idle_timeout_s=1800, cookie_secure=True, exclude=("/static/.*",))
    second = opened(idle_timeout_s=1800, cookie_secure=True)
    assert said(caplog) == [], "which paths a process serves is its own affair"
    other = opened(idle_timeout_s=3600.5, local_attributes=("seat",))
    (text,) = said(caplog)
    assert f"process {os.getpid()} of node a" in text
    assert "idle_timeout_s is 3600.5 here and 1800 there" in text
    assert "cookie_secure is False here and True there" in text
    assert "local_attributes is ['seat'] here and [] there" in text
    assert "absolute_timeout_s" not in text, "it is in effect the same"
    again = opened(idle_timeout_s=3600.5, local_attributes=("seat",))
    assert said(caplog) == []
    for runtime in (first, second, other):
        runtime.close()
    opened(idle_timeout_s=1800).close()
    assert len(said(caplog)) == 1, "it disagrees with the one that is left"
    again.close()
    opened(idle_timeout_s=1800).close()
    assert said(caplog) == []


def test_what_follows_from_a_setting_is_compared_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # As Flask's configuration does by its PERMANENT_SESSION_LIFETIME.
    with_default, with_own = opened(), opened(absolute_timeout_s=124 * 86_400)
    (text,) = said(caplog)
    assert "absolute_timeout_s is 10713600 here and 604800.0 there" in text
    with_default.close()
    with_own.close()


def test_applications_with_sessions_of_their_own_share_only_the_agent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = opened(idle_timeout_s=1800)
    other = opened(idle_timeout_s=3600, cookie_name="wiki")
    assert said(caplog) == []
    third = opened(cookie_name="blog", log_format="json")
    assert [text.partition("one: ")[2].partition(". ")[0] for text in said(caplog)] == [
        "log_format is 'json' here and 'text' there"
    ] * 2
    for runtime in (first, other, third):
        runtime.close()


def _hold(opened_one: Any) -> None:
    opened(idle_timeout_s=60)
    opened_one.set()
    signal.pause()


def test_a_process_that_was_killed_does_not_count(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = multiprocessing.get_context("spawn")
    is_open = context.Event()
    process = context.Process(target=_hold, args=(is_open,))
    process.start()
    assert is_open.wait(30)
    runtime = opened(idle_timeout_s=1800)
    (text,) = said(caplog)
    assert f"process {process.pid} of node a" in text
    runtime.close()
    process.kill()
    process.join(20)
    runtime = opened(idle_timeout_s=1800)
    assert said(caplog) == []
    (left,) = state.rglob("settings.json")
    assert SECRET not in left.read_text()
    runtime.close()


def test_a_forked_child_holds_settings_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    runtime = opened(idle_timeout_s=1800)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write_end, b"forked")
        signal.pause()
        os._exit(0)
    try:
        # What happens in a child when it begins has happened.
        assert os.read(read_end, 6) == b"forked"
        runtime.close()
        opened(idle_timeout_s=60).close()
        assert said(caplog) == [], "the child has not opened the node"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read_end)
        os.close(write_end)


@pytest.mark.parametrize("junk", [b"", b"{}", b"[1]", b'{"pid": "x", "settings": 1}', b"\xff"])
def test_what_cannot_be_read_harms_nothing(
    state: Path, junk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    first = opened(idle_timeout_s=1800)
    (file,) = state.rglob("settings.json")
    file.write_bytes(junk)
    second = opened(idle_timeout_s=60)
    assert said(caplog) == []
    first.close()
    second.close()


def test_a_node_opens_where_they_cannot_be_compared(state: Path) -> None:
    opened().close()
    (directory,) = (path.parent for path in state.rglob("known-secrets"))
    for path in sorted((directory / "settings").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (directory / "settings").rmdir()
    (directory / "settings").write_text("somebody's file")
    opened().close()


def test_what_is_none_of_ours_hides_no_other_settings(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = opened(idle_timeout_s=1800)
    (own,) = state.rglob("settings/*")
    (own.parent / "0-note").write_text("an operator's")
    second = opened(idle_timeout_s=60)
    assert len(said(caplog)) == 1
    first.close()
    second.close()


def test_applications_of_a_test_may_differ(caplog: pytest.LogCaptureFixture) -> None:
    with isolated():
        first, second = opened(idle_timeout_s=1800), opened(idle_timeout_s=60)
        assert said(caplog) == []
        first.close()
        second.close()
