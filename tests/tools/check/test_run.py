"""``clustersession check`` where no other host is needed."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clustersession.cli import main
from tests.support.processes import free_port
from tests.tools.check.found import SECRET, Found


def run(state: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> Found:
    given = {"STATE_DIR": str(state), "BIND": "127.0.0.1", "SECRET": SECRET, "ROUTE": "a",
             "MULTICAST_PORT": str(free_port(socket.SOCK_DGRAM)), **settings}
    for name, value in given.items():
        monkeypatch.setenv(f"CLUSTERSESSION_{name}", value)
    outcome = CliRunner().invoke(main, ["check", "--json"])
    return Found(json.loads(outcome.output), outcome.exit_code)


def test_settings_that_are_wrong_are_all_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(tmp_path, monkeypatch, PORT="0", ACK="some")
    assert found.status == 1
    assert [text.split()[0] for _, text in found.of("settings")] == ["port", "ack"]


def test_no_secret_on_an_address_that_others_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(tmp_path, monkeypatch, SECRET="", BIND="10.77.0.9")
    assert found.status == 1
    said = found.of("settings")[0][1]
    assert "without a secret" in said
    assert "its framework's secret key" in said
    assert "set CLUSTERSESSION_DISTRIBUTABLE to false" in said


def test_no_secret_for_a_store_that_others_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = "valkey://store.invalid"
    found = run(tmp_path, monkeypatch, SECRET="", DISTRIBUTABLE="true", STORE=store)
    said = found.of("settings")[0][1]
    assert "a store is set, and there is no secret" in said
    assert "its framework's secret key" in said


def test_not_distributable_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(tmp_path, monkeypatch, DISTRIBUTABLE="false")
    assert found.status == 0
    assert found.of("peer") == found.of("ports") == []


def test_a_name_that_does_not_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clustersession.net.interfaces._is_elsewhere", lambda host: False)

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    found = run(tmp_path, monkeypatch, SEEDS="db.invalid:4000", MULTICAST_ADDRESS="")
    assert found.problems() == {"seeds"}
    assert "db.invalid:4000 does not resolve" in found.of("seeds")[0][1]
