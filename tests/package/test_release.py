"""What a release publishes: by the time of its commit, with a bill of materials that is whole."""

import json
from pathlib import Path

import pytest

from tests.package.release import commit_s, not_named_in


def test_the_time_of_a_build_is_given_or_the_commit_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert commit_s() == 1_700_000_000


def test_a_bill_of_materials_must_name_every_dependency(tmp_path: Path) -> None:
    path = tmp_path / "bill.json"
    names = ["click", "cryptography", "itsdangerous", "lmdb", "msgpack"]
    path.write_text(json.dumps({"components": [{"name": name} for name in names]}))
    assert not_named_in(path) == {"uvloop"}
    path.write_text(json.dumps({"components": [{"name": name} for name in [*names, "uvloop"]]}))
    assert not not_named_in(path)
