"""The plugin in the projects of its users, each run of pytest in a process of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from clustersession import pytest as plugin
from clustersession.settings.sources import TEST_STATE_DIR_VARIABLE
from clustersession.worker.run_of_tests import CONFIGURED, name_prefix
from tests.documents import ROOT
from tests.support.processes import node_pids, wait_for
from tests.support.users_project import UsersProject

APP = """
from flask import Flask
from clustersession.flask import ClusterSession, session

def create_app(**options):
    app = Flask("shop")
    app.config.update({"SECRET_KEY": "a key of ours", "DISTRIBUTABLE": True, **options})
    ClusterSession(app)

    @app.post("/login")
    def login():
        session.rotate()
        session["user"] = session.principal = "ann"
        return "welcome"

    @app.post("/logout-everywhere")
    def logout_everywhere():
        return str(session.cluster.end_all("ann"))

    @app.get("/")
    def home():
        return session.get("user", "nobody")

    return app
"""

DEVELOPER = """
import sys
from app import create_app
client = create_app(DISTRIBUTABLE=False, CLUSTERSESSION_STATE_DIR=sys.argv[1]).test_client()
client.post("/login")
print(client.get("/").text, flush=True)
sys.stdin.readline()
print(client.get("/").text, flush=True)
"""

TEST = """
from app import create_app

def test_logout_everywhere():
    client = create_app().test_client()
    client.post("/login")
    assert client.post("/logout-everywhere").text == "1"
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[UsersProject]:
    project = UsersProject(tmp_path)
    project.write(app=APP)
    yield project
    shutil.rmtree(project.temporary)


def passed(result: subprocess.CompletedProcess[str], count: int) -> None:
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{count} passed" in result.stdout, result.stdout


def test_the_package_registers_it_under_the_name_by_which_it_is_switched_off() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"clustersession": "clustersession.pytest"}
    assert plugin.VARIABLE == TEST_STATE_DIR_VARIABLE
    assert f"clustersession-tests-{os.getuid()}-" == name_prefix()


def test_a_run_without_an_application_of_ours_imports_and_makes_nothing(
    project: UsersProject,
) -> None:
    project.write(test_nothing="""
import sys, json
def test_nothing():
    heavy = {"lmdb", "cryptography", "msgpack", "flask", "django", "starlette", "click"}
    ours = {name for name in sys.modules if name.startswith("clustersession.")}
    rooms = {name.split(".")[1] for name in ours}
    print(json.dumps([sorted(heavy & set(sys.modules)), sorted(rooms)]))
""")  # fmt: skip
    # What the server in a wheel brings along imports much itself.
    result = project.pytest_as_installed("-s", "-p", "no:valkey", "test_nothing.py")
    passed(result, 1)
    line = next(line for line in result.stdout.splitlines() if line.startswith("[["))
    heavy, rooms = json.loads(line)
    assert heavy == []
    assert set(rooms) == {"pytest", "wire", "core"}, "what the package itself imports"
    assert not project.left()


WITHOUT = ("-p", "no:clustersession")


@pytest.mark.parametrize(("way", "options"), [
    ("user", ()), ("user", WITHOUT), ("environment", ("-n", "2")), ("environment", WITHOUT),
    ("application", ()), ("application", WITHOUT),
], ids=str)
def test_a_test_ends_no_session_of_the_developer(
    project: UsersProject, way: str, options: tuple[str, ...]
) -> None:
    theirs = str(project.developer / "clustersession" if way == "user" else project.developer)
    given = f"CLUSTERSESSION_STATE_DIR={theirs!r}" if way == "application" else ""
    project.write(developer=DEVELOPER, test_shop=TEST.replace("app()", f"app({given})"))
    environment = {"CLUSTERSESSION_STATE_DIR": theirs} if way == "environment" else {}
    with subprocess.Popen(
        [sys.executable, "developer.py", theirs], cwd=project.directory, env=project.environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as developer:
        assert developer.stdout is not None
        assert developer.stdout.readline() == "ann\n"
        passed(project.pytest("test_shop.py", *options, environment=environment), 1)
        said, _ = developer.communicate("go on\n", timeout=30)
    assert said == "ann\n"
    assert not project.left()


@pytest.mark.parametrize("options", [[], ["-p", "no:clustersession"]], ids=str)
def test_workers_of_xdist_share_no_limit(project: UsersProject, options: list[str]) -> None:
    project.write(test_limit="""
import pytest
from app import create_app

@pytest.mark.parametrize("number", range(40))
def test_logged_in(number):
    client = create_app(CLUSTERSESSION_SESSIONS_PER_PRINCIPAL_MAX=1).test_client()
    client.post("/login")
    for _ in range(20):
        assert client.get("/").text == "ann"
""")  # fmt: skip
    passed(project.pytest("-n", "2", *options, "test_limit.py"), 40)
    assert not project.left()


def test_programs_that_tests_start_are_kept_apart_too(project: UsersProject) -> None:
    project.write(test_program="""
import subprocess, sys
CODE = '''
from app import create_app
client = create_app().test_client()
client.post("/login")
print(client.get("/").text)
'''
def test_program():
    said = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert said.stdout == "ann\\n"
""")  # fmt: skip
    passed(project.pytest("test_program.py"), 1)
    assert not project.developer.exists()
    assert not project.left()


@pytest.mark.parametrize("options", [[], ["-p", "no:clustersession"]], ids=str)
def test_what_a_killed_run_leaves_a_later_one_removes(
    project: UsersProject, options: list[str]
) -> None:
    project.write(test_shop=TEST, test_killed=TEST + "    import os; os.kill(os.getpid(), 9)\n")
    assert project.pytest(*options, "test_killed.py").returncode == -signal.SIGKILL
    (left,) = project.left()
    passed(project.pytest("test_shop.py"), 1)
    assert project.left() == [left], "it is young: its maker may be about to lock it"
    os.utime(project.temporary / left, (1, 1))
    passed(project.pytest("test_shop.py"), 1)
    assert not project.left()


@pytest.mark.parametrize(("way", "workers"), [
    ("ini", []), ("ini", ["gw0", "gw1"]), ("environment", ["gw0", "gw1"]),
], ids=str)
def test_a_directory_of_the_projects_own_is_kept(
    project: UsersProject, way: str, workers: list[str]
) -> None:
    project.write(test_shop=TEST)
    kept, environment = project.directory / "kept", {}
    if way == "ini":
        (project.directory / "pytest.ini").write_text("[pytest]\nclustersession_state_dir = kept\n")
    else:
        environment = {TEST_STATE_DIR_VARIABLE: str(kept)}
    arguments = ["-n", "2", "--dist", "each"] if workers else []
    passed(project.pytest("test_shop.py", *arguments, environment=environment), len(workers) or 1)
    assert sorted(path.name for path in kept.iterdir() if path.name[:2] == "gw") == workers
    assert list(kept.rglob("data.mdb"))
    assert not project.developer.exists()


def test_configured_is_where_the_settings_say(project: UsersProject) -> None:
    project.write(test_shop=TEST.replace("create_app()", "create_app(DISTRIBUTABLE=False)"))
    project.write(app=APP.replace("DISTRIBUTABLE=True, ", ""))
    (project.directory / "pytest.ini").write_text(
        f"[pytest]\nclustersession_state_dir = {CONFIGURED}\n"
    )
    passed(project.pytest("test_shop.py"), 1)
    assert list(project.developer.rglob("data.mdb"))


def test_a_moved_clock_is_refused_where_sessions_are_those_of_live_nodes(
    project: UsersProject,
) -> None:
    project.write(test_clock="def test_clock(cluster_clock): pass")
    (project.directory / "pytest.ini").write_text(
        f"[pytest]\nclustersession_state_dir = {CONFIGURED}\n"
    )
    result = project.pytest("test_clock.py")
    assert result.returncode == 1
    assert "the clock can only be moved where tests keep their sessions apart" in result.stdout


def test_every_test_on_the_page_runs(project: UsersProject) -> None:
    files = [name for name in project.write_page() if name.startswith("test_")]
    assert len(files) == 4
    passed(project.pytest_as_installed("-n", "2", *files), 7)
    assert not project.left()
    assert not project.developer.exists()


def test_the_pages_unittest_runs(project: UsersProject) -> None:
    project.write_page()
    result = project.run("-m", "unittest", "unit_tests")
    assert result.returncode == 0, result.stderr
    assert "Ran 2 tests" in result.stderr
    assert not project.left()
    assert not project.developer.exists()


def test_nodes_end_with_a_test_that_fails(project: UsersProject) -> None:
    project.write(test_nodes=NODES + "    assert False, nodes\n")
    result = project.pytest("test_nodes.py")
    assert "1 failed" in result.stdout, result.stdout
    assert not project.left()
    assert not node_pids(Path((project.directory / "where").read_text()))


def test_nodes_end_with_a_run_that_is_killed(project: UsersProject) -> None:
    project.write(test_nodes=NODES + "    import os; os.kill(os.getpid(), 9)\n")
    assert project.pytest("test_nodes.py").returncode == -signal.SIGKILL
    state_dir = Path((project.directory / "where").read_text())
    wait_for(lambda: not node_pids(state_dir), "the end of the nodes", 40)


NODES = """
def test_nodes(cluster_nodes):
    nodes = cluster_nodes("app:create_app()")
    client = nodes.client()
    assert client.post("/login").status == 200
    open("where", "w").write(str(nodes[0]._node.state_dir.parent.parent))
"""


def test_it_gives_the_environment_back_as_it_was(
    monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    class Config:
        def __init__(self) -> None:
            self.stash, self.rootpath = pytest.Stash(), pytestconfig.rootpath

        def getini(self, name: str) -> str:
            return ""

    for before in (None, "/somewhere"):
        if before is None:
            monkeypatch.delenv(TEST_STATE_DIR_VARIABLE, raising=False)
        else:
            monkeypatch.setenv(TEST_STATE_DIR_VARIABLE, before)
        config = Config()
        plugin.pytest_configure(config)  # type: ignore[arg-type]
        during = os.environ[TEST_STATE_DIR_VARIABLE]
        assert during == before or name_prefix() in during
        plugin.pytest_unconfigure(config)  # type: ignore[arg-type]
        assert os.environ.get(TEST_STATE_DIR_VARIABLE) == before


SHOP_OF_DJANGO = {
    "manage": """
        import os, sys
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project_settings")
        from django.core.management import execute_from_command_line
        execute_from_command_line(sys.argv)
    """,
    "project_settings": """
        from pathlib import Path
        SECRET_KEY = "a key of the developer"
        ROOT_URLCONF = "project_urls"
        ALLOWED_HOSTS = ["*"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
        INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth",
                          "clustersession.django"]
        SESSION_ENGINE = "clustersession.django"
        CLUSTERSESSION = {"distributable": True, "sessions_per_principal_max": 1}
        MIDDLEWARE = ["clustersession.django.ClusterSessionMiddleware",
                      "django.contrib.auth.middleware.AuthenticationMiddleware"]
    """,
    "project_urls": """
        from django.http import HttpResponse
        from django.urls import path
        urlpatterns = [path("", lambda request: HttpResponse(
            request.user.username or "nobody" if "cart" not in request.session else "cart"))]
    """,
    "more_tests": """
        from django.contrib.auth.models import User
        from django.test import TestCase

        class MoreTest(TestCase):
            def test_limit(self):
                user = User.objects.create_user("ann", id=1)
                for _ in range(20):
                    self.client.force_login(user)
                    self.assertEqual(self.client.get("/").content, b"ann")

        class OtherTest(MoreTest):
            pass
    """,
}


@pytest.fixture
def shop_of_django(project: UsersProject) -> UsersProject:
    project.write_page()
    project.write(**{name: textwrap.dedent(text) for name, text in SHOP_OF_DJANGO.items()})
    return project


@pytest.mark.parametrize("options", [[], ["--parallel", "2"]], ids=str)
def test_djangos_own_runner_is_kept_apart(
    shop_of_django: UsersProject, options: list[str]
) -> None:
    result = shop_of_django.run("manage.py", "test", "-p", "*_tests.py", "shop_tests",
                                "more_tests", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Ran 4 tests" in result.stderr
    assert not shop_of_django.developer.exists()
    assert not shop_of_django.left()


@pytest.mark.parametrize("options", [[], ["-n", "2"], ["-p", "no:clustersession"]], ids=str)
def test_djangos_tests_are_kept_apart_under_pytest(
    shop_of_django: UsersProject, options: list[str]
) -> None:
    passed(shop_of_django.pytest(
        "shop_tests.py", "more_tests.py", "--ds", "project_settings", *options
    ), 4)
    assert not shop_of_django.developer.exists()
    assert not shop_of_django.left()

