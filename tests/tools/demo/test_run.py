"""``clustersession demo`` as a user runs it: one command, exit status 0, nothing left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clustersession.tools.demo import run
from clustersession.tools.demo.processes import descendants, node_pids, wait_for
from clustersession.tools.demo.scenario import Browser

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

RUN = "import sys; from clustersession.tools.demo.run import run_demo; sys.exit(run_demo({}))"


def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}


WITHOUT_STORE = ("kill -9", ".tomcat1", ".tomcat2", "member lost", "Every step held")
WITH_STORE = (
    "kill -9", "until it is back this node serves", "0 failed", "it begins with 0 keys",
    "and soon it holds 7 sessions", "becomes", "without its replica", "Every step held",
)


@pytest.mark.parametrize(("arguments", "told"), [("", WITHOUT_STORE), ("store=True", WITH_STORE)])
def test_every_step_holds_and_nothing_is_left(
    arguments: str, told: tuple[str, ...], tmp_path: Path
) -> None:
    result = subprocess.run(
        [sys.executable, "-c", RUN.format(arguments)], capture_output=True, text=True, timeout=100,
        env=environment(tmp_path), check=False, stdin=subprocess.DEVNULL,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for wanted in told:
        assert wanted in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_failed_step_fails_the_demo_and_shows_the_logs(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text(
        "async def app(scope, receive, send):\n    raise RuntimeError('nobody home')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c",
         "from pathlib import Path; "
         + RUN.format(f"app='empty:app', app_directory=Path({str(tmp_path)!r})")],
        capture_output=True, text=True, timeout=100, env=environment(tmp_path), check=False,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == 1
    assert "FAILED: tomcat1 answers: wanted 200, saw 500" in result.stdout
    assert "nobody home" in result.stdout


@pytest.mark.parametrize(("number", "store"), [
    (signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGKILL, False), (signal.SIGKILL, True),
])
def test_serve_runs_until_it_is_ended_and_leaves_nothing(
    number: signal.Signals, store: bool, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output, subprocess.Popen(
        [sys.executable, "-c", RUN.format(f"serve=True, store={store}")], stdout=output,
        stderr=output, stdin=subprocess.DEVNULL, env=environment(tmp_path),
    ) as process:
        try:
            wait_for(lambda: "Ctrl-C ends" in log.read_text(), "the demo to serve", 40)
            port = int(log.read_text().partition("Open http://127.0.0.1:")[2].partition("/")[0])
            assert Browser(port).get("/api/session").status == 200
            started = {*descendants(process.pid), *node_pids(tmp_path)} - {process.pid}
            assert len(started) == 6 + store, "two servers, two agents, balancer and keeper"
            process.send_signal(number)
            ended = process.wait(30)
            assert ended == (0 if number == signal.SIGINT else -number), log.read_text()
        finally:
            process.kill()
    wait_for(
        lambda: [path.name for path in tmp_path.iterdir()] == ["log"]
        and not [pid for pid in started if Path(f"/proc/{pid}").exists()],
        "everything to be cleared up",
    )


def test_without_a_server_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "store_program", lambda: None)
    assert run.run_demo(store=True) == 2
    assert "pip install 'clustersession[demo-store]'" in capsys.readouterr().out
