"""One secret for all workers of a user, and none that is replaced in silence."""

import errno
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clustersession.core.errors import ReplicaUnusable
from clustersession.settings.framework import derive_secret
from clustersession.settings.settings import Settings
from clustersession.worker import secret
from clustersession.worker.completion import complete
from clustersession.worker.secret import own_secret, warn_of_guessable


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def _read_secret(results: Any) -> None:
    results.put(own_secret(Settings()))


def test_racing_workers_agree_on_the_secret() -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_read_secret, args=(results,)) for _ in range(8)]
    for worker in workers:
        worker.start()
    secrets = {results.get(timeout=20) for _ in workers}
    for worker in workers:
        worker.join(20)
    assert len(secrets) == 1


def test_cluster_names_have_secrets_of_their_own() -> None:
    assert own_secret(Settings(cluster_name="shop")) != own_secret(Settings(cluster_name=".."))


def test_a_secret_that_can_be_guessed_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    secret._warned.clear()
    for weak in ("k" * 32, "k" * 32, derive_secret("dev")):
        warn_of_guessable(Settings(secret=("qT8w-Lz3Rk5_vN0xYb7d", weak)))
    warn_of_guessable(Settings(secret=("qT8w-Lz3Rk5_vN0xYb7d",)))
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "token_urlsafe" in caplog.text
    assert "kkkk" not in caplog.text


def test_a_damaged_secret_is_not_replaced_in_silence(state: Path) -> None:
    own_secret(Settings())
    (state / "clustersession" / "clustersession.id-secret").write_bytes(b"short")
    with pytest.raises(ReplicaUnusable, match="damaged"):
        own_secret(Settings())


def test_nobody_waits_for_a_pipe_of_that_name(state: Path) -> None:
    """In a directory for several users, another one may have made it."""
    (state / "clustersession").mkdir(mode=0o700)
    os.mkfifo(state / "clustersession" / "clustersession.id-secret")
    code = """
from clustersession.core.errors import ReplicaUnusable
from clustersession.settings.settings import Settings
from clustersession.worker.secret import own_secret
try:
    own_secret(Settings())
except ReplicaUnusable:
    print("refused")
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    assert found.stdout == "refused\n"


def test_what_a_full_disk_refused_leaves_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data reaches the disk before the name: an empty file would refuse every later start."""
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReplicaUnusable, match="No space left"):
        own_secret(Settings())
    assert not list((state / "clustersession").iterdir())


def test_the_secret_is_where_the_nodes_are_and_nowhere_else(state: Path) -> None:
    home, place = state / "clustersession", state / "given"
    settings = Settings(state_dir=str(place))
    (found,) = complete(settings).secret
    assert complete(settings).secret == (found,)
    assert not home.exists()
    (file,) = place.iterdir()
    assert bytes.fromhex(found) == file.read_bytes()
    assert file.name.endswith(".id-secret")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_secret_that_another_user_put_there_is_refused(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(state_dir=str(state))
    file = secret.own_secret_file(settings)
    file.write_bytes(b"k" * 32)
    assert own_secret(settings) == (b"k" * 32).hex()
    real = os.fstat

    def of_another_user(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        found[4] = os.geteuid() + 1
        return os.stat_result(found)

    monkeypatch.setattr(secret.os, "fstat", of_another_user)
    with pytest.raises(ReplicaUnusable, match="belongs to another user"):
        own_secret(settings)
