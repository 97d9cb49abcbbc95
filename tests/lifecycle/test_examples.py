"""Unit file, images and compose file, as far as they can be had without their engines."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from clustersession.settings.settings import Settings
from clustersession.settings.sources import load_settings
from tests.support.apps import ROOT
from tests.support.dockerfile import DOCKERFILE, Image, image, images
from tests.support.processes import (
    free_port,
    node_pids,
    require_programs,
    require_root,
    wait_for,
)

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


def test_the_compose_file_follows_its_schema() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", str(COMPOSE)],
        capture_output=True, text=True, timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("number", ["1", "2"])
def test_application_and_agent_of_a_node_agree(
    number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = compose()["services"]
    app, agent = services[f"app{number}"], services[f"agent{number}"]
    assert app["environment"] == agent["environment"]
    assert app["volumes"] == agent["volumes"]
    assert app["pid"] == agent["pid"] == f"service:pids{number}"
    settings = settings_from(
        image("shop").environment | app["environment"], monkeypatch)
    assert settings.distributable
    assert settings.agent == "external"
    assert settings.route == f"tomcat{number}"
    assert app["volumes"] == [f"state{number}:{settings.state_dir}"]
    assert 0 < settings.drain_on_stop_s < int(app["stop_grace_period"].removesuffix("s"))
    named = {seed.split(":")[1] for seed in settings.seeds}
    assert named == {"agent1", "agent2"} <= services.keys()


def test_the_process_ids_of_a_node_outlive_its_containers() -> None:
    """A PID namespace ends with its first process: with the agent the application would die."""
    for number in ("1", "2"):
        holder = compose()["services"][f"pids{number}"]
        assert holder["command"] == ["sleep", "infinity"]
        assert holder["init"] is True


def test_the_compose_file_builds_what_there_is() -> None:
    found = compose()
    for service in found["services"].values():
        context = (COMPOSE.parent / service["build"]["context"]).resolve()
        assert context == ROOT
        assert context / service["build"]["dockerfile"] == DOCKERFILE
        assert service["build"]["target"] in images()
    assert set(found["volumes"]) == {"state1", "state2"}


IMAGES = pytest.mark.parametrize("name", ["agent", "shop"])


def test_what_the_images_copy_is_there_and_sent_to_the_engine() -> None:
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {source for made in images().values() for source, _ in made.copied}
    assert copied == {line[1:] for line in sent if line.startswith("!")}
    assert "*" in sent
    for source in copied:
        assert (ROOT / source).exists(), source


@IMAGES
def test_the_settings_of_an_image_are_settings(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = image(name).environment
    ours = {n: value for n, value in environment.items() if n.startswith("CLUSTERSESSION_")}
    settings = settings_from(ours, monkeypatch)
    assert settings.distributable
    assert f"-m 0700 {settings.state_dir}" in DOCKERFILE.read_text()


def test_the_images_install_extras_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = set(re.findall(r"\[(\w+)\]", DOCKERFILE.read_text()))
    assert named - {"0"} == {"metrics", "flask"} <= project["optional-dependencies"].keys()
    (gunicorn,) = re.findall(r"'(gunicorn\S+)'", DOCKERFILE.read_text())
    assert gunicorn in project["optional-dependencies"]["demo"]


USER = 10_001
"""Of the images: without name and home, it may write in its state and the temporary directory."""

# An interpreter below /root can be reached by others with this capability only.
AS_USER = (
    "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
)


class Containers:
    """Runs what containers of the images would, on one state directory."""

    def __init__(self, root: Path) -> None:
        self.log = root / "log"
        self._root = root
        self._running: list[subprocess.Popen[bytes]] = []
        self._environment = {
            "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1",
            "CLUSTERSESSION_SECRET": SECRET,
            "CLUSTERSESSION_STATE_DIR": str(root / "state"),
            "CLUSTERSESSION_BIND": "127.0.0.1",
            "CLUSTERSESSION_MULTICAST_ADDRESS": "",
            "CLUSTERSESSION_SEEDS": "",
            "PORT": str(free_port()),
        }

    def start(self, name: str, **environment: str) -> None:
        """Start one: its command, its environment, its directory."""
        with self.log.open("ab") as output:
            self._running.append(subprocess.Popen(
                [*AS_USER, *image(name).command], stdout=output, stderr=output,
                **self._process(name, environment),
            ))

    def is_healthy(self, name: str, **environment: str) -> bool:
        """Do what the engine does to know that."""
        return subprocess.run(
            [*AS_USER, *image(name).check], capture_output=True, timeout=30, check=False,
            **self._process(name, environment),
        ).returncode == 0

    def stop(self) -> None:
        """End all of them, the last one first."""
        while self._running:
            process = self._running.pop()
            process.terminate()
            process.wait(30)
        wait_for(lambda: not node_pids(self._root), "the agent to go", 20.0)

    def _process(self, name: str, environment: dict[str, str]) -> dict[str, Any]:
        made: Image = image(name)
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        own = {**made.environment, **environment, **self._environment, "PATH": path}
        return {"cwd": self._root / made.directory.lstrip("/"), "env": own}


@pytest.fixture
def containers() -> Iterator[Containers]:
    """The files of the images, which others may read, and ``state`` beside them."""
    require_root("running as another user")
    require_programs("setpriv")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for source, target in image("shop").copied:
            shutil.copytree(
                ROOT / source, root / target.lstrip("/"),
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        (root / "state").mkdir(mode=0o700)
        os.chown(root / "state", USER, USER)
        root.chmod(0o755)
        made = Containers(root)
        try:
            yield made
        finally:
            made.stop()


@IMAGES
def test_an_image_runs_as_a_user_without_rights(name: str) -> None:
    assert image(name).user == f"{USER}:{USER}"


@pytest.mark.system
def test_the_image_of_an_application_needs_no_other(containers: Containers) -> None:
    assert not containers.is_healthy("shop")
    containers.start("shop")
    wait_for(lambda: containers.is_healthy("shop"), "the application to be healthy", 40.0)
    assert containers.is_healthy("agent")


@pytest.mark.system
def test_what_the_compose_file_runs_serves_where_hardly_anything_can_be_written(
    containers: Containers,
) -> None:
    environment = compose()["services"]["app1"]["environment"]
    directory = containers.log.parent / "app"
    before = sorted(directory.iterdir())
    containers.start("agent", **environment)
    wait_for(lambda: containers.is_healthy("agent", **environment), "a healthy agent", 40.0)
    assert not containers.is_healthy("shop", **environment)
    containers.start("shop", **environment)
    wait_for(lambda: containers.is_healthy("shop", **environment), "a healthy application", 40.0)
    containers.stop()
    assert not containers.is_healthy("agent", **environment)
    said = containers.log.read_text()
    assert "Starting gunicorn" in said
    for word in ("ERROR", "WARNING", "Traceback"):
        assert word.lower() not in said.lower(), said
    assert sorted(directory.iterdir()) == before
