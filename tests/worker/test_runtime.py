"""One manager per process, nothing before it is needed, one secret for all workers."""

import multiprocessing
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clustersession.core.errors import ConfigurationError, ReplicaUnusable
from clustersession.session.manager import SessionManager
from clustersession.settings.settings import Settings
from clustersession.worker import places, runtime
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
    return Runtime(Settings(route="a", map_bytes=MAP_BYTES, **options))


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
    directory = state / "clustersession" / "clustersession.a"
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


def _read_secret(results: Any) -> None:
    results.put(places.id_secrets(Settings()))


def test_racing_workers_agree_on_the_secret() -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_read_secret, args=(results,)) for _ in range(8)]
    for worker in workers:
        worker.start()
    secrets = {tuple(results.get(timeout=20)) for _ in workers}
    for worker in workers:
        worker.join(20)
    assert len(secrets) == 1


def test_nodes_with_different_state_directories_share_the_secret(tmp_path: Path) -> None:
    one, two = make(state_dir=str(tmp_path / "1")), make(state_dir=str(tmp_path / "2"))
    sid = store(one.manager(), a=1)
    visit = two.manager().open([sid])
    assert visit.missing
    one.close()
    two.close()


def test_cluster_names_have_secrets_and_directories_of_their_own(state: Path) -> None:
    plain, odd = Settings(cluster_name="shop"), Settings(cluster_name="..")
    assert places.id_secrets(plain) != places.id_secrets(odd)
    assert places.node_home(odd).directory.parent == state / "clustersession"
    assert places.id_secrets(Settings(secret=("0123456789abcdef",))) == [b"0123456789abcdef"]


def test_a_damaged_secret_is_not_replaced_in_silence(state: Path) -> None:
    places.id_secrets(Settings())
    (state / "clustersession" / "clustersession.id-secret").write_bytes(b"short")
    with pytest.raises(ReplicaUnusable, match="damaged"):
        places.id_secrets(Settings())


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReplicaUnusable, match="state_dir"):
        make(state_dir=str(tmp_path / "file")).start()


def test_secrets_from_framework_keys() -> None:
    assert places.derive_secret("key") == places.derive_secret(b"key")
    assert places.derive_secret("key") != places.derive_secret("other")
    assert "key" not in places.derive_secret("key")
    with pytest.raises(ConfigurationError):
        places.derive_secret("")


def test_without_a_home_the_state_is_in_the_temporary_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("HOME")
    assert places.user_state_dir().name == f"clustersession-{os.getuid()}"
    monkeypatch.setenv("HOME", "/nonexistent")
    assert places.user_state_dir().name == f"clustersession-{os.getuid()}"


def test_threads_that_race_for_the_first_request_after_a_fork_agree_on_one_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a lock each they would open the replica twice, which LMDB does not bear."""
    meeting = threading.Barrier(2, timeout=10)

    class Slow(runtime._ProcessWide):
        def __init__(self) -> None:
            meeting.wait()
            super().__init__()

    monkeypatch.setattr(runtime, "_ProcessWide", Slow)
    monkeypatch.setattr(runtime.os, "getpid", lambda: -1)
    try:
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(lambda _: runtime._this_process(), range(2))
    finally:
        runtime._by_pid.pop(-1, None)
    assert first is second
