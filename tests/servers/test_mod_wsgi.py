"""Apache httpd with mod_wsgi: one interpreter for all applications of a process, or several."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from clustersession.tools.demo.balancers import apache_frame, modules_directory
from clustersession.tools.demo.scenario import Browser
from tests.servers.running import HOOKS
from tests.support.balancers import EXAMPLES
from tests.support.processes import (
    Program,
    cannot_run,
    find_program,
    free_port,
    kill_node,
    require,
    wait_for,
)

ROOT = Path(__file__).parents[2]
APACHE = ("apache2", "httpd")
GLOBAL_LINE = "WSGIApplicationGroup %{GLOBAL}"
SCRIPT = """
import os

os.environ.update({variables!r})

from flask import Flask, session
from clustersession.flask import ClusterSession

application = Flask("app")
application.config["DISTRIBUTABLE"] = True
application.config["SECRET_KEY"] = "of every application here, and long"
ClusterSession(application)


@application.get("/")
def page():
    session["count"] = session.get("count", 0) + 1
    return {{"count": session["count"], "pid": os.getpid()}}
"""


class Httpd:
    """One httpd with mod_wsgi, whose processes are those of a node.

    directory: readable by the user that httpd serves as, unlike those of pytest.
    """

    def __init__(self, directory: Path, text: str) -> None:
        self.directory = directory
        self.port = free_port()
        self.state = directory / "state"
        self.state.mkdir()
        self.state.chmod(0o777)
        path = directory / "httpd.conf"
        path.write_text(
            apache_frame(directory, self.port, ["wsgi"])
            + f"WSGISocketPrefix {directory}/wsgi\n" + text
        )
        self.program = Program(
            [_apache(), "-d", str(directory), "-f", str(path), "-DFOREGROUND"],
            directory / "httpd.log",
            environment={
                "XDG_STATE_HOME": str(self.state), "CLUSTERSESSION_DISTRIBUTABLE": "true",
                "CLUSTERSESSION_BIND": "127.0.0.1",
                "CLUSTERSESSION_MULTICAST_ADDRESS": "", "CLUSTERSESSION_ROUTE": "node1",
            },
        )

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.program.start()
        self.program.wait_until_listening(self.port)

    def log(self) -> str:
        """What httpd and the applications have logged."""
        return (self.directory / "httpd-error.log").read_text(errors="replace")

    def end(self) -> None:
        """Stop httpd and whatever agents its nodes have."""
        process = self.program.process
        if process is not None:
            process.terminate()
            process.wait(20)
        kill_node(self.state)


def _apache() -> str:
    found = next(filter(None, map(find_program, APACHE)), None)
    require("" if found else "Apache httpd")
    assert found is not None
    return found


def _paths() -> str:
    """Where the interpreter inside httpd finds the packages of this environment."""
    return f"{sysconfig.get_path('purelib')}:{ROOT}"


def _require_mod_wsgi() -> None:
    modules = modules_directory()
    module = None if modules is None else modules / "mod_wsgi.so"
    require("" if module is not None and module.exists() else "libapache2-mod-wsgi-py3")
    linked = subprocess.run(["ldd", str(module)], capture_output=True, text=True).stdout
    ours = f"libpython{sys.version_info[0]}.{sys.version_info[1]}."
    if ours not in linked:
        cannot_run(f"mod_wsgi is of another Python than this one, {ours[3:-1]}")


def _require_a_way_for_others() -> None:
    """As root, httpd serves as another user, who has to reach what it imports."""
    needed = (ROOT, Path(sysconfig.get_path("purelib")))
    ways = [place for path in needed for place in (path, *path.parents)]
    closed = next((place for place in ways if not place.stat().st_mode & stat.S_IXOTH), None)
    if os.geteuid() == 0 and closed is not None:
        cannot_run(f"httpd serves as a user who cannot enter {closed}: clone the project elsewhere")


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that the user that httpd serves as can read, with what it needs."""
    _require_mod_wsgi()
    _require_a_way_for_others()
    with tempfile.TemporaryDirectory(prefix="mod-wsgi-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        yield Path(made)


def two_scripts(directory: Path, group: str, variables: Mapping[str, Mapping[str, str]]) -> str:
    """Configure one process with two scripts, each with variables of its own."""
    text = f"""
WSGIDaemonProcess apps processes=1 threads=4 python-path={_paths()}
WSGIProcessGroup apps
{group}
<Directory />
    Require all granted
</Directory>
"""
    for name, own in variables.items():
        script = directory / f"{name}.py"
        script.write_text(SCRIPT.format(variables=dict(own)))
        text += f"WSGIScriptAlias /{name} {script}\n"
    return text


@pytest.fixture
def running() -> Iterator[list[Httpd]]:
    """Those to end after the test."""
    started: list[Httpd] = []
    yield started
    for httpd in started:
        httpd.end()


@pytest.mark.system
@pytest.mark.timeout(120)
def test_the_example_joins_at_the_start_and_keeps_sessions_in_a_graceful_restart(
    directory: Path, running: list[Httpd]
) -> None:
    shop = directory / "shop"
    shutil.copytree(HOOKS, shop)
    shop.chmod(0o755)
    text = (EXAMPLES / "apache" / "mod_wsgi.conf").read_text()
    text = text.replace("python-home=/srv/shop/venv python-path=", f"python-path={_paths()}:")
    httpd = Httpd(directory, text.replace("/srv/shop", str(shop)))
    running.append(httpd)
    httpd.start()
    wait_for(lambda: list(httpd.state.rglob("agent.sock")), "the agent before any request", 30)
    browser = Browser(httpd.port)
    counts = [browser.post("/api/count", {}).body for _ in range(3)]
    assert [body["count"] for body in counts] == [1, 2, 3]
    pids = {body["pid"] for body in counts}
    os.kill(httpd.program.pid, signal.SIGUSR1)
    answers = [3]
    unanswered = 0

    def is_new() -> bool:
        nonlocal unanswered
        answer = browser.post("/api/count", {})
        if answer.status != 200:
            # httpd answers so for a process that it has just ended.
            unanswered += 1
            return False
        answers.append(answer.body["count"])
        return answer.body["pid"] not in pids

    wait_for(is_new, "a process of after the restart", 60)
    assert answers == sorted(set(answers))
    assert answers[-1] <= 2 + len(answers) + unanswered


@pytest.mark.system
@pytest.mark.timeout(120)
def test_two_scripts_of_one_interpreter_share_the_node(
    directory: Path, running: list[Httpd]
) -> None:
    scripts: dict[str, dict[str, str]] = {"shop": {}, "admin": {}}
    httpd = Httpd(directory, two_scripts(directory, GLOBAL_LINE, scripts))
    running.append(httpd)
    httpd.start()
    for name in scripts:
        browser = Browser(httpd.port)
        assert [browser.get(f"/{name}/").body["count"] for _ in range(2)] == [1, 2]
    assert len(list(httpd.state.rglob("data.mdb"))) == 1


@pytest.mark.system
@pytest.mark.timeout(120)
def test_two_interpreters_of_one_process_serve_a_node_each(
    directory: Path, running: list[Httpd]
) -> None:
    scripts = {name: {"CLUSTERSESSION_ROUTE": name} for name in ("shop", "admin")}
    httpd = Httpd(directory, two_scripts(directory, "", scripts))
    running.append(httpd)
    httpd.start()
    pids = set()
    for name in scripts:
        browser = Browser(httpd.port)
        bodies = [browser.get(f"/{name}/").body for _ in range(3)]
        assert [body["count"] for body in bodies] == [1, 2, 3]
        pids |= {body["pid"] for body in bodies}
    assert len(pids) == 1


@pytest.mark.system
@pytest.mark.timeout(120)
def test_two_interpreters_with_one_node_are_refused_by_the_line_to_add(
    directory: Path, running: list[Httpd]
) -> None:
    scripts: dict[str, dict[str, str]] = {"shop": {}, "admin": {}}
    httpd = Httpd(directory, two_scripts(directory, "", scripts))
    running.append(httpd)
    httpd.start()
    browser = Browser(httpd.port)
    assert browser.get("/shop/").body["count"] == 1
    for _ in range(3):
        assert Browser(httpd.port).get("/admin/").status == 500
    assert f"add {GLOBAL_LINE} to the configuration" in httpd.log()
    # The first one keeps what it holds, and its locks.
    assert browser.get("/shop/").body["count"] == 2
