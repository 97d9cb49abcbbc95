"""Some cells of the table, chosen to differ. All of it: ``make servers``."""

from pathlib import Path

import pytest

from tests.documents import blocks
from tests.servers.registry import (
    AGENT,
    BY_NAME,
    EARLY,
    KILL,
    LEAKS,
    RECYCLE,
    RELOAD,
    SERVERS,
    STOP,
    UWSGI,
)
from tests.servers.scenarios import SCENARIOS, play
from tests.support.processes import require

SELECTION = (
    ("gunicorn-gevent-preload", KILL),
    ("uvicorn-workers", LEAKS),
    ("uwsgi-prefork", AGENT),
    ("granian-wsgi", RELOAD),
    ("gunicorn-sync", RECYCLE),
    ("hypercorn", STOP),
    ("hypercorn-trio", KILL),
    ("granian-asgi", KILL),
    ("waitress", EARLY),
)
PROGRAMS = ("gunicorn", "uvicorn", "hypercorn", "granian", "uwsgi", "python")


@pytest.mark.system
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("name", "scenario"), SELECTION)
def test_sessions_and_agent_stay(name: str, scenario: str, tmp_path: Path) -> None:
    if name.startswith("uwsgi"):
        require("" if Path(UWSGI).exists() else "uwsgi")
    play(BY_NAME[name], scenario, tmp_path)


def test_what_a_server_lacks_is_a_scenario_with_a_reason() -> None:
    for server in SERVERS:
        assert set(server.lacks) <= set(SCENARIOS)
        assert all(len(reason) > 20 for reason in server.lacks.values())
        assert server.recycle or RECYCLE in server.lacks


def _documented() -> list[str]:
    lines = [
        line.removeprefix("$ ")
        for block in blocks("console") if block.document.name == "run.md"
        for line in block.text.splitlines()
    ]
    return [line for line in lines if line.split()[0] in PROGRAMS]


@pytest.mark.parametrize("line", _documented())
def test_a_documented_server_runs_as_it_is_tested(line: str) -> None:
    program, *words = line.split()
    tested = [
        words_of for server in SERVERS
        if program in (words_of := [Path(word).name for word in server.words()])
        or (program == "python" and server.name == "waitress")
    ]
    wanted = {word for word in words if not word.startswith("127.")}
    assert any(wanted <= set(command) for command in tested), tested


def test_every_tested_server_is_documented() -> None:
    documented = " ".join(_documented())
    for program in (*PROGRAMS[:-1], "waitress"):
        assert program in documented
