"""``flask clustersession ...`` finds the node of the application by the application's settings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clustersession.flask.commands import as_toml
from clustersession.settings.settings import Settings
from clustersession.settings.sources import load_settings

SHOP = """
from flask import Flask, session
from clustersession.flask import ClusterSession

def create_app():
    app = Flask("shop")
    app.config.update(SECRET_KEY="of this test alone", CLUSTERSESSION_STATE_DIR={directory!r},
                      CLUSTERSESSION_ROUTE="tomcat1", CLUSTERSESSION_EXCLUDE=["/a{{1,3}}"])
    ClusterSession(app, cluster_name="shop")

    @app.get("/")
    def page():
        session["a"] = 1
        return ""

    return app
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP.format(directory=str(tmp_path / "state")))
    return tmp_path


def run(shop: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: v for name, v in os.environ.items() if not name.startswith("CLUSTERSESSION_")}
    return subprocess.run(
        [sys.executable, *words], cwd=shop, env={**kept, "TMPDIR": str(shop / "temporary")},
        capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip


def flask(shop: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    (shop / "temporary").mkdir(exist_ok=True)
    return run(shop, "-m", "flask", "--app", "shop", "clustersession", *words)


def test_sessions_of_the_application_are_listed(shop: Path) -> None:
    visit = "import shop; assert shop.create_app().test_client().get('/').status_code == 200"
    (shop / "temporary").mkdir()
    assert run(shop, "-c", visit).returncode == 0
    found = flask(shop, "sessions", "--json")
    assert found.returncode == 0, found.stderr
    assert [row["attributes"] for row in json.loads(found.stdout)["rows"]] == [1]
    assert not list((shop / "temporary").iterdir())


def test_what_a_command_says_and_its_exit_code_are_passed_on(shop: Path) -> None:
    failed = flask(shop, "status")
    assert failed.returncode == 1
    assert failed.stderr.startswith("Error: ")
    assert not (shop / "state").exists()
    shown = flask(shop, "--help")
    assert shown.returncode == 0
    assert "Session clustering for Python web apps" in shown.stdout
    assert "clustersession" in run(shop, "-m", "flask", "--app", "shop", "--help").stdout


def test_settings_are_read_back_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("CLUSTERSESSION_")]:
        monkeypatch.delenv(name)
    settings = Settings(
        secret=('a long "key", with\\ signs', "another: é, and long"), exclude=("/a{1,3}", "/b"),
        distributable=True, seeds=("127.0.0.1:4000",), route="tomcat1",
    )
    (tmp_path / "settings.toml").write_text(as_toml(settings))
    assert load_settings(config=str(tmp_path / "settings.toml")) == settings
