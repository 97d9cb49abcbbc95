"""One secret for all workers of a user, and none that is replaced in silence."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from clustersession.core.errors import ReplicaUnusable
from clustersession.settings.framework import derive_secret
from clustersession.settings.settings import Settings
from clustersession.worker import secret
from clustersession.worker.secret import user_secret, warn_of_guessable


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def _read_secret(results: Any) -> None:
    results.put(user_secret("clustersession"))


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
    assert user_secret("shop") != user_secret("..")


def test_a_secret_that_can_be_guessed_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    secret._warned.clear()
    for weak in ("k" * 32, "k" * 32, derive_secret("dev")):
        warn_of_guessable(Settings(secret=("qT8w-Lz3Rk5_vN0xYb7d", weak)))
    warn_of_guessable(Settings(secret=("qT8w-Lz3Rk5_vN0xYb7d",)))
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "token_urlsafe" in caplog.text
    assert "kkkk" not in caplog.text


def test_a_damaged_secret_is_not_replaced_in_silence(state: Path) -> None:
    user_secret("clustersession")
    (state / "clustersession" / "clustersession.id-secret").write_bytes(b"short")
    with pytest.raises(ReplicaUnusable, match="damaged"):
        user_secret("clustersession")
