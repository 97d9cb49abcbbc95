"""Which directory a node has: one for each application's secrets, the same through a rotation."""

import errno
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from clustersession.core.errors import ReplicaUnusable
from clustersession.replica.home import NodeHome, parse_name
from clustersession.worker import known_secrets
from clustersession.worker.known_secrets import find_or_begin

OLD, NEW, NEWEST, OTHER = "the old secret", "the new secret", "the newest", "of another one"


def node(base: Path, *secrets: str) -> NodeHome:
    return find_or_begin(base, "shop", "web1", secrets)


def test_applications_with_different_secrets_are_different_nodes(tmp_path: Path) -> None:
    assert node(tmp_path, OLD) == node(tmp_path, OLD) != node(tmp_path, OTHER)
    assert parse_name(node(tmp_path, OLD).directory) == ("shop", "web1")
    same = [
        find_or_begin(tmp_path, name, route, [OLD])
        for name, route in (("shop", "web1"), ("shop", "web2"), ("shop.web1", "x"))
    ]
    assert len(set(same)) == 3


def test_a_rotation_keeps_the_node(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = node(tmp_path, OLD)
    rounds = ([OLD, NEW], [NEW, OLD], [OLD, NEW], [NEW], [NEWEST, NEW], [NEWEST])
    for secrets in rounds:
        assert node(tmp_path, *secrets) == home
    assert not caplog.records


def test_a_secret_that_cannot_be_noted_is_an_error_that_names_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = node(tmp_path, OLD)

    def full(*_: object) -> None:
        # As of a write: unlike that of opening, it names no file.
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(known_secrets, "_learn", full)
    with pytest.raises(ReplicaUnusable) as refused:
        node(tmp_path, OLD, NEW)
    assert "None" not in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    monkeypatch.undo()
    assert node(tmp_path, OLD, NEW) == home


def test_a_secret_replaced_at_one_go_begins_a_node_and_names_the_older(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older = node(tmp_path, OLD)
    begun = [node(tmp_path, NEW), node(tmp_path, NEW)]
    assert begun[0] == begun[1] != older
    (line,) = [record.getMessage() for record in caplog.records]
    assert older.directory.name in line
    assert str(begun[0].directory) in line
    # The one with the sessions of now is the one of the newest secret, and the older keeps its own.
    assert node(tmp_path, NEW, OLD) == begun[0]
    assert node(tmp_path, OLD) == older
    assert node(tmp_path, OLD, NEW) == older
    assert node(tmp_path, NEW) == begun[0]


@pytest.mark.parametrize("left", [None, ""])
def test_one_that_was_killed_while_it_began_is_found_again(
    tmp_path: Path, left: str | None
) -> None:
    home = node(tmp_path, OLD)
    home.known_secrets.unlink()
    if left is not None:
        home.known_secrets.write_text(left)
    assert node(tmp_path, OLD, NEW) == home
    assert node(tmp_path, NEW) == home


def test_no_secret_stands_on_the_disk(tmp_path: Path) -> None:
    home = node(tmp_path, OLD)
    assert OLD not in home.known_secrets.read_text()
    assert home.known_secrets.stat().st_mode & 0o777 == 0o600


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    home = node(tmp_path, OLD)
    home.known_secrets.unlink()
    (tmp_path / "elsewhere").write_text("")
    home.known_secrets.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReplicaUnusable):
        node(tmp_path, OLD)


def _begin(base: Path, secrets: list[str], results: Any) -> None:
    results.put(node(base, *secrets).directory.name)


def test_workers_that_race_in_the_middle_of_a_rotation_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    lists = [[OLD], [OLD, NEW], [NEW, OLD], [NEW, OLD]] * 2
    workers = [context.Process(target=_begin, args=(tmp_path, given, results)) for given in lists]
    for worker in workers:
        worker.start()
    found = {results.get(timeout=20) for _ in workers}
    for worker in workers:
        worker.join(20)
    assert len(found) == 1
