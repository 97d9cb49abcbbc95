"""Pickles are read as data: nothing they name is imported or called."""

import collections
import pickle
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest

from clustersession.tools.migration.plain_pickle import NotPlain, Opaque, read_plain_pickle

PLAIN = {
    "text": "ü", "number": 7, "big": 2**90, "negative": -3, "real": 1.5, "yes": True, "no": None,
    "list": [1, [2, 3]], "pair": (1, 2), "many": (1, 2, 3, 4), "bytes": b"x" * 300,
    "set": {1, 2}, "frozen": frozenset({3}), "empty": [{}, [], (), set()], "deep": {"a": {"b": 1}},
    "array": bytearray(b"ab"),
}
STANDARD = {
    "moment": datetime(2026, 1, 2, 3, 4, 5, 6), "day": date(2026, 1, 2),  # noqa: DTZ001
    "long": timedelta(1, 2, 3), "price": Decimal("9.90"),
}


@pytest.mark.parametrize("protocol", [4, 5])
def test_plain_data_comes_back(protocol: int) -> None:
    data = PLAIN if protocol == 5 else {k: v for k, v in PLAIN.items() if k != "array"}
    assert read_plain_pickle(pickle.dumps(data, protocol)) == data
    assert read_plain_pickle(pickle.dumps(STANDARD, protocol)) == STANDARD


@pytest.mark.parametrize("protocol", [0, 1, 2, 3])
def test_older_protocols_too(protocol: int) -> None:
    data = {"text": "ü", "number": 7, "list": [1, 2], "pair": (1, 2), "many": (1, 2, 3, 4)}
    assert read_plain_pickle(pickle.dumps(data, protocol)) == data


class Evil:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (Path(self.path),)


def test_nothing_is_called(tmp_path: Path) -> None:
    witness = tmp_path / "called"
    for protocol in range(6):
        data = pickle.dumps({"a": 1, "evil": Evil(str(witness))}, protocol)
        try:
            read = read_plain_pickle(data)
        except NotPlain:
            continue
        assert read["a"] == 1
        assert isinstance(read["evil"], Opaque)
    assert not witness.exists()
    pickle.loads(data)
    assert witness.exists()  # it would have been


def test_objects_of_classes_are_opaque_and_the_rest_is_kept() -> None:
    data = {
        "id": uuid4(), "zone": datetime(2026, 1, 1, tzinfo=UTC), "d": collections.OrderedDict(a=1),
        "name": "ada",
    }
    read = read_plain_pickle(pickle.dumps(data, 5))
    assert read["name"] == "ada"
    assert read["id"].name == "uuid.UUID"
    assert isinstance(read["d"], Opaque)


def test_hostile_bytes_end_in_one_error() -> None:
    drawn = random.Random(1)
    whole = pickle.dumps({**PLAIN, **STANDARD, "id": uuid4()}, 5)
    for _ in range(3000):
        data = bytearray(whole[: drawn.randrange(1, len(whole) + 1)])
        for _ in range(drawn.randrange(4)):
            data[drawn.randrange(len(data))] = drawn.randrange(256)
        try:
            read_plain_pickle(bytes(data))
        except NotPlain:
            pass


@pytest.mark.parametrize("data", [
    b"", b".", b"\x80\x05", b"(.", b"\x80\x05Pid\n.", b"\x80\x05\x82\x01.", b"c", b"N" * 300_000,
    b"\x80\x05\x8e\xff\xff\xff\xff\xff\xff\xff\x7fab.", b"}]N\x87s.", b"I" + b"9" * 10_000 + b"\n.",
])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(NotPlain):
        read_plain_pickle(data)
