"""A framework gets a Python that is new enough, or is not run."""

import sys

import pytest

from tests.frameworks import run
from tests.frameworks.entry import Entry
from tests.frameworks.sources import fetch, interpreter


def entry(python: str) -> Entry:
    return Entry("newest", "newest==1", (), "plugin", (), 1, python=python)


def test_this_python_where_it_is_new_enough() -> None:
    assert interpreter(entry("")) == interpreter(entry("3.11")) == sys.executable


def test_none_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = entry("3.99")
    assert interpreter(missing) is None
    with pytest.raises(RuntimeError, match=r"newest needs Python 3\.99"):
        fetch(missing)
    monkeypatch.setattr(run, "load_entries", lambda: [missing])
    monkeypatch.setattr(sys, "argv", ["run", "--strict"])
    assert run.main() == 1
    assert "NOT RUN" in capsys.readouterr().out
