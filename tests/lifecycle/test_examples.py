"""The unit file and the compose file, as far as they can be had without their engines."""

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from clustersession.settings.settings import Settings
from clustersession.settings.sources import load_settings
from tests.support.apps import ROOT
from tests.support.processes import free_port, require_programs, require_root, wait_for

UNIT = ROOT / "examples" / "systemd" / "clustersession-agent.service"
COMPOSE = ROOT / "examples" / "compose" / "compose.yaml"
SECRET = "qT8w-Lz3Rk5_vN0xYb7d"


@pytest.mark.system
def test_systemd_has_no_complaint_about_the_unit(tmp_path: Path) -> None:
    require_programs("systemd-analyze")
    installed = Path(sys.executable).with_name("clustersession")
    assert installed.exists()
    text, changed = re.subn(r"(?m)^ExecStart=\S+", f"ExecStart={installed}", UNIT.read_text())
    assert changed == 1
    unit = tmp_path / UNIT.name
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True,
        timeout=50,
    )
    ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert not ours
    assert done.returncode == 0, done.stderr


def test_the_units_settings_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    given = re.findall(r"(?m)^Environment=(CLUSTERSESSION_\w+)=(.*)$", UNIT.read_text())
    assert given
    assert settings_from(dict(given), monkeypatch).distributable


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return found


def settings_from(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What a process with that environment has; an unknown name would be refused."""
    for name, value in environment.items():
        assert isinstance(value, str), f"{name} is no text"
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CLUSTERSESSION_SECRET", SECRET)
    return load_settings()


@pytest.mark.parametrize("number", ["1", "2"])
def test_application_and_agent_of_a_node_agree(
    number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = compose()["services"]
    app, agent = services[f"app{number}"], services[f"agent{number}"]
    assert app["environment"] == agent["environment"]
    assert app["volumes"] == agent["volumes"]
    assert app["pid"] == f"service:agent{number}"
    assert agent["command"] == ["clustersession", "agent"]
    settings = settings_from(app["environment"], monkeypatch)
    assert settings.distributable
    assert settings.agent == "external"
    assert settings.route == f"tomcat{number}"
    assert app["volumes"] == [f"state{number}:{settings.state_dir}"]
    assert 0 < settings.drain_on_stop_s < int(app["stop_grace_period"].removesuffix("s"))
    named = {seed.split(":")[1] for seed in settings.seeds}
    assert named == {"agent1", "agent2"} <= services.keys()


def test_what_the_compose_file_builds_is_there() -> None:
    found = compose()
    for service in found["services"].values():
        context = (COMPOSE.parent / service["build"]["context"]).resolve()
        dockerfile = context / service["build"]["dockerfile"]
        for line in re.findall(r"(?m)^COPY (.+) \S+$", dockerfile.read_text()):
            for source in line.split():
                assert (context / source).exists(), source
    assert set(found["volumes"]) == {"state1", "state2"}


USER = 10_001
"""Of the image: it has no name, no home, and may write in its state and the temporary directory."""

# An interpreter below /root can be reached by others with this capability only.
AS_USER = (
    "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
)


@pytest.fixture
def image() -> Iterator[Path]:
    """The directory that the image serves from, and ``state`` beside it. Others may read it."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        shutil.copytree(
            ROOT / "examples" / "flask_app", root / "app",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        (root / "state").mkdir(mode=0o700)
        os.chown(root / "state", USER, USER)
        root.chmod(0o755)
        yield root


@pytest.mark.system
def test_what_the_compose_file_runs_serves_where_hardly_anything_can_be_written(
    image: Path,
) -> None:
    require_root("running as another user")
    require_programs("setpriv")
    dockerfile = (COMPOSE.parent / "Dockerfile").read_text()
    (served,) = re.findall(r"(?m)^CMD (.+)$", dockerfile)
    assert f"USER {USER}:{USER}" in dockerfile
    services = compose()["services"]
    port = free_port()
    programs = Path(sys.executable).parent
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin", "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1",
        **services["app1"]["environment"],
        "CLUSTERSESSION_SECRET": SECRET,
        "CLUSTERSESSION_STATE_DIR": str(image / "state"),
        "CLUSTERSESSION_BIND": "127.0.0.1",
        "CLUSTERSESSION_SEEDS": "",
    }
    before = sorted((image / "app").iterdir())
    running: list[subprocess.Popen[bytes]] = []
    log = image / "log"
    try:
        for command in (services["agent1"]["command"], json.loads(served)):
            words = [word.replace("0.0.0.0:8000", f"127.0.0.1:{port}") for word in command]
            with log.open("ab") as output:
                running.append(subprocess.Popen(
                    [*AS_USER, str(programs / words[0]), *words[1:]], cwd=image / "app",
                    env=environment, stdout=output, stderr=output,
                ))
        wait_for(lambda: is_ready(port), "the application to be ready", 40.0)
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(30)
    said = log.read_text()
    assert "Starting gunicorn" in said
    for word in ("ERROR", "WARNING", "Traceback"):
        assert word.lower() not in said.lower(), said
    assert sorted((image / "app").iterdir()) == before


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
