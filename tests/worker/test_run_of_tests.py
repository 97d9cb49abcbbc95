"""Runs of tests are noticed, kept apart, and cleared away, whatever became of them."""

import fcntl
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clustersession.core.errors import ConfigurationError, ReplicaUnusable
from clustersession.settings.settings import Settings
from clustersession.settings.sources import TEST_STATE_DIR_VARIABLE, load_settings
from clustersession.worker import places, run_of_tests
from clustersession.worker.completion import complete
from clustersession.worker.runtime import Runtime, opened_runtimes
from tests.support.processes import free_port, wait_for


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where directories of runs are made and looked for."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(run_of_tests, "_own", {})
    monkeypatch.setattr(run_of_tests, "_round", 0)  # tests of the clock have counted on
    return tmp_path


@pytest.fixture
def place(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = temporary / f"{run_of_tests.name_prefix()}here"
    monkeypatch.setenv(TEST_STATE_DIR_VARIABLE, str(place))
    yield place
    for runtime in opened_runtimes():
        runtime.close()
    run_of_tests.remove(place)


def stale(directory: Path, name: str = "stale") -> Path:
    """What a run that was killed some time ago has left."""
    left = directory / f"{run_of_tests.name_prefix()}{name}"
    (left / "round-0").mkdir(parents=True)
    os.utime(left, (1, 1))
    return left


def test_the_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TEST_STATE_DIR_VARIABLE, "/somewhere")
    load_settings()
    monkeypatch.setenv(TEST_STATE_DIR_VARIABLE + "S", "/somewhere")
    with pytest.raises(ConfigurationError):
        load_settings()


def test_it_is_obeyed_in_any_process_and_nodes_there_have_no_peers(place: Path) -> None:
    settings = Settings(distributable=True, bind="192.0.2.1", secret=("a" * 16,))
    assert complete(settings).distributable is False, "and nothing of a cluster is asked of it"
    assert places.state_dir_of(settings) == place / "round-0"
    assert places.user_state_dir() == place / "round-0"
    runtime = Runtime(Settings(distributable=True))
    runtime.start()
    assert runtime.agent_client() is None
    assert list(place.glob("round-0/*/replica/data.mdb"))
    assert opened_runtimes() == [runtime]


def test_a_server_with_the_variable_says_that_it_has_no_peers(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody may have exported it in a shell and started a server there."""
    complete(Settings(distributable=True))
    assert not caplog.records, "of a test it is expected"
    monkeypatch.setattr(run_of_tests, "_is_pytest", lambda: False)
    complete(Settings())
    assert not caplog.records, "it had none to lose"
    complete(Settings(distributable=True))
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert TEST_STATE_DIR_VARIABLE in caplog.text


def test_each_state_directory_has_another_one_in_its_place(place: Path) -> None:
    one, two = (places.state_dir_of(Settings(state_dir=path)) for path in ("/srv/one", "/srv/two"))
    assert one != two
    assert {one.parent, two.parent} == {place / "round-0"}
    assert places.state_dir_of(Settings(state_dir="/srv/one")) == one


def test_to_begin_anew_is_to_know_no_session(place: Path) -> None:
    first = places.user_state_dir()
    run_of_tests.begin_anew()
    assert places.user_state_dir() != first


def test_configured_is_what_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_of_tests, "_watches", True)
    monkeypatch.setenv(TEST_STATE_DIR_VARIABLE, run_of_tests.CONFIGURED)
    assert run_of_tests.tests_state_dir() is None
    assert places.state_dir_of(Settings(state_dir="/srv/shop")) == Path("/srv/shop")


def test_pytest_without_the_plugin_is_noticed(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TEST_STATE_DIR_VARIABLE, raising=False)
    monkeypatch.setattr(run_of_tests, "_watches", True)
    found = run_of_tests.tests_state_dir()
    assert found is not None
    assert found.parent.parent == temporary
    assert places.state_dir_of(Settings(state_dir="/srv/shop")).parent == found
    run_of_tests.remove(found.parent)


@pytest.mark.parametrize("imported", ["pytest", "_pytest.assertion.rewrite", "xdist.remote"])
def test_a_server_that_inherits_from_pytest_and_has_it_loaded_is_no_test(imported: str) -> None:
    """Images are made with PYTEST_VERSION, and libraries import pytest."""
    code = f"""
import sys, {imported}
from clustersession.settings.settings import Settings
from clustersession.worker import run_of_tests
from clustersession.worker.completion import complete
sys.argv[:] = ["/usr/bin/gunicorn", "shop:app"]
assert "_pytest.config" in sys.modules
assert run_of_tests.tests_state_dir() is None
settings = Settings(distributable=True, bind="127.0.0.1", secret=("a secret of these tests",))
assert complete(settings).distributable
"""
    environment = {k: v for k, v in os.environ.items() if k != TEST_STATE_DIR_VARIABLE}
    environment |= {"PYTEST_VERSION": pytest.__version__, "PYTEST_CURRENT_TEST": "test_shop.py"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=50)


def test_pytest_is_noticed_by_its_finder_and_by_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_of_tests.is_test_run()
    monkeypatch.setattr(sys, "meta_path", [])
    assert run_of_tests.is_test_run(), "as under --assert=plain"
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run_of_tests.is_test_run).result(), "a thread of a test too"
    monkeypatch.undo()
    monkeypatch.setattr(sys, "_current_frames", dict)
    assert run_of_tests.is_test_run(), "as in a greenlet"


@pytest.mark.parametrize(("argv", "noticed"), [
    (["manage.py", "test"], True),
    (["./manage.py", "test", "shop"], True),
    (["/usr/bin/django-admin", "test"], True),
    (["/lib/site-packages/django/__main__.py", "test"], True),
    (["manage.py", "runserver"], False),
    (["/usr/bin/gunicorn", "test"], False),
    (["/lib/site-packages/gunicorn/__main__.py", "test"], False),
    (["manage.py"], False),
    ([""], False),
], ids=str)  # fmt: skip
def test_djangos_runner_is_noticed_by_its_command(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], noticed: bool
) -> None:
    monkeypatch.setitem(sys.modules, "django", types.ModuleType("django"))
    monkeypatch.setitem(sys.modules, "django.test.utils", types.ModuleType("django.test.utils"))
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(run_of_tests, "_is_pytest", lambda: False)
    assert run_of_tests.is_test_run() is noticed


def test_djangos_runner_is_noticed_by_its_test_environment() -> None:
    code = """
import django
from django.conf import settings
from clustersession.worker.run_of_tests import is_test_run
settings.configure()
django.setup()
from django.test.utils import setup_test_environment, teardown_test_environment
assert not is_test_run()
setup_test_environment()
assert is_test_run()
teardown_test_environment()
assert not is_test_run()
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=50)


def test_only_what_nobody_uses_any_more_is_cleared_away(temporary: Path) -> None:
    gone, used = stale(temporary), stale(temporary, "used")
    young = stale(temporary, "young")
    os.utime(young)
    elsewhere = temporary / "outside"
    elsewhere.mkdir()
    link = temporary / f"{run_of_tests.name_prefix()}link"
    link.symlink_to(elsewhere)
    os.utime(link, (1, 1), follow_symlinks=False)
    lock = os.open(used / run_of_tests.LOCK_FILE, os.O_RDWR | os.O_CREAT)
    os.utime(used, (1, 1))
    fcntl.flock(lock, fcntl.LOCK_SH)
    run_of_tests.remove_stale(temporary)
    os.close(lock)
    assert not gone.exists()
    assert used.exists()
    assert young.exists()
    assert list(elsewhere.iterdir()) == []
    assert link.is_symlink()


def test_a_run_clears_a_bounded_number_away(temporary: Path, place: Path) -> None:
    for number in range(run_of_tests.STALE_REMOVED_MAX + 5):
        stale(temporary, f"{number:03}")
    run_of_tests.tests_state_dir()
    assert len(list(temporary.glob("clustersession-tests-*"))) == 5 + 1


def test_what_cannot_be_cleared_away_does_not_stand_before_what_can(temporary: Path) -> None:
    """In a directory for everybody, another user may have made links of such names."""
    for number in range(run_of_tests.STALE_REMOVED_MAX + 5):
        link = temporary / f"{run_of_tests.name_prefix()}{number:03}"
        link.symlink_to(temporary)
    gone = stale(temporary)
    run_of_tests.remove_stale(temporary)
    assert not gone.exists()


def test_nobody_waits_for_an_agent_that_was_killed(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = stale(temporary)
    monkeypatch.chdir(left)  # the whole path may be too long for a socket
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("agent.sock")
    os.utime(left, (1, 1))
    waits = list[float]()
    monkeypatch.setattr(time, "sleep", waits.append)
    run_of_tests.remove_stale(temporary)
    assert not left.exists()
    assert not waits


def test_a_directory_that_somebody_made_keeps_its_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable may name a project's directory, or by mistake any other."""
    tmp_path.chmod(0o755)
    monkeypatch.setenv(TEST_STATE_DIR_VARIABLE, str(tmp_path))
    home = places.node_home(Settings(secret=("a secret of these tests",), route="here"))
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    inside = [home.directory.parent, tmp_path / run_of_tests.LOCK_FILE]
    assert not any(path.stat().st_mode & 0o077 for path in inside)


def test_a_relative_directory_is_meant_from_where_it_was_first_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test may go elsewhere, or start a program that works elsewhere."""
    monkeypatch.setattr(run_of_tests, "_round", 0)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(TEST_STATE_DIR_VARIABLE, "here")
    first = run_of_tests.tests_state_dir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run_of_tests.tests_state_dir() == first == tmp_path / "here" / "round-0"
    assert os.environ[TEST_STATE_DIR_VARIABLE] == str(tmp_path / "here")
    run_of_tests.remove(tmp_path / "here")


def test_agents_in_a_directory_are_stopped_before_it_goes(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the settings decide tests have agents; so has what a killed run has left."""
    left = stale(temporary, "agent")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    runtime = Runtime(Settings(
        distributable=True, bind="127.0.0.1", state_dir=str(left), multicast_address="",
        port=free_port(), port_range=1, secret=("a secret of these tests",), route="left",
    ))
    runtime.start()
    client = runtime.agent_client()
    assert client is not None
    (agent_socket,) = left.rglob("agent.sock")
    agent = int(next(left.rglob("agent.lock")).read_text())
    runtime.close()
    run_of_tests.remove(left)
    assert not left.exists()
    assert not agent_socket.exists()
    wait_for(lambda: not Path(f"/proc/{agent}").exists(), "the agent's end")


def test_what_cannot_be_made_is_refused_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(TEST_STATE_DIR_VARIABLE, str(tmp_path / "file" / "below"))
    with pytest.raises(ReplicaUnusable, match="file"):
        run_of_tests.tests_state_dir()
