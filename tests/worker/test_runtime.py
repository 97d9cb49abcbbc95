"""One manager per process, and nothing before it is needed."""

import multiprocessing
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from clustersession.core.errors import ReplicaUnusable
from clustersession.session.manager import SessionManager
from clustersession.settings.settings import Settings
from clustersession.worker.runtime import Runtime

MAP_BYTES = 2**26


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("CLUSTERSESSION_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def make(**options: Any) -> Runtime:
    return Runtime(Settings(**{"route": "a", "map_bytes": MAP_BYTES, **options}))


def store(manager: SessionManager, **values: Any) -> str:
    visit = manager.open([])
    session = visit.session
    session.update(values)
    manager.commit(visit)
    assert visit.identifier is not None
    return visit.identifier


def test_constructing_opens_nothing(state: Path) -> None:
    make()
    assert list(state.iterdir()) == []


def test_files_are_private(state: Path) -> None:
    runtime = make()
    runtime.start()
    directory = next(p.parent for p in state.rglob("known-secrets"))
    secret = state / "clustersession" / "clustersession.id-secret"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert len(secret.read_bytes()) == 32
    assert [p.name for p in secret.parent.iterdir() if "secret" in p.name] == [secret.name]
    runtime.close()


def test_closing_and_opening_again_keeps_the_sessions() -> None:
    runtime = make()
    sid = store(runtime.manager(), a=1)
    runtime.close()
    runtime.close()
    assert runtime.manager().open([sid]).session == {"a": 1}
    runtime.close()


def test_two_runtimes_of_one_process_share_the_replica() -> None:
    one, two = make(), make()
    sid = store(one.manager(), a=1)
    assert two.manager().open([sid]).session == {"a": 1}
    one.close()
    assert two.manager().open([sid]).session == {"a": 1}
    two.close()


def test_threads_get_one_manager() -> None:
    runtime = make()
    found: list[SessionManager] = []
    barrier = threading.Barrier(8)

    def use() -> None:
        barrier.wait()
        found.append(runtime.manager())

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(manager) for manager in found}) == 1
    runtime.close()


def _serve(runtime: Runtime, sid: str, before: int, results: Any) -> None:
    manager = runtime.manager()
    visit = manager.open([sid])
    session = visit.session
    values = dict(session)
    session["from_child"] = True
    manager.commit(visit)
    results.put((id(manager) != before, values))


def test_a_forked_worker_opens_its_own() -> None:
    runtime = make()
    manager = runtime.manager()
    sid = store(manager, a=1)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_serve, args=(runtime, sid, id(manager), results))
    child.start()
    assert results.get(timeout=20) == (True, {"a": 1})
    child.join(20)
    assert child.exitcode == 0
    assert runtime.manager() is manager
    assert manager.open([sid]).session == {"a": 1, "from_child": True}
    runtime.close()


def test_nodes_of_one_state_directory_share_its_secret(tmp_path: Path) -> None:
    places = (("1", "a"), ("1", "b"), ("2", "a"))
    one, sibling, elsewhere = (
        make(state_dir=str(tmp_path / place), route=route) for place, route in places
    )
    sid = store(one.manager(), a=1)
    assert sibling.manager().open([sid]).missing
    assert not elsewhere.manager().open([sid]).missing, "an id of another secret is a forged one"
    for runtime in (one, sibling, elsewhere):
        runtime.close()


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReplicaUnusable, match="state_dir"):
        make(state_dir=str(tmp_path / "file")).start()
