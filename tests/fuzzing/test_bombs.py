"""A small input costs little memory and little time, wherever in a structure the bomb stands."""

from itertools import islice
from random import Random
from typing import Any

import msgpack
import pytest

from tests.fuzzing.bombs import bombs
from tests.fuzzing.campaign import all_targets, peak_bytes, replay
from tests.fuzzing.target import Target

TARGETS = all_targets()
PLACES_MAX = 12
GRAFTED_BYTES_MAX = 20_000


@pytest.mark.parametrize("name", TARGETS)
def test_a_bomb_goes_off_nowhere(name: str) -> None:
    target = TARGETS[name]
    for _, bomb in bombs():
        replay(target, bomb)
        for data in grafted(target, bomb) if len(bomb) < GRAFTED_BYTES_MAX else ():
            replay(target, data)


@pytest.mark.parametrize("name", ["message.Listing", "records.batch", "replica.record"])
@pytest.mark.parametrize("item", [b"\x90", b"\x80", b"\x91\xc0"])
def test_a_frame_full_of_empty_things_is_refused_early(name: str, item: bytes) -> None:
    target, size = TARGETS[name], 2**18
    data = b"\xdd" + (size // len(item)).to_bytes(4, "big") + item * (size // len(item))
    data = bytes(25) + data if name == "replica.record" else data
    assert not target.check(data)
    assert peak_bytes(target, data) < 30 * size


def grafted(target: Target, bomb: bytes) -> list[bytes]:
    """The bomb in place of the elements of a valid input, and of records inside of it."""
    plain = _structure(target.sample(Random(5)))
    return list(islice(_grafts(plain, bomb), PLACES_MAX)) if type(plain) is list else []


def _grafts(plain: list[Any], bomb: bytes) -> Any:
    head = msgpack.Packer().pack_array_header(len(plain))
    parts = [msgpack.packb(item) for item in plain]
    for at, item in enumerate(plain):
        yield head + b"".join([*parts[:at], bomb, *parts[at + 1 :]])
        inside = _structure(item)
        for inner in _grafts(inside, bomb) if type(inside) is list else ():
            yield head + b"".join([*parts[:at], msgpack.packb(inner), *parts[at + 1 :]])


def _structure(data: object) -> object:
    try:
        return msgpack.unpackb(data, strict_map_key=False) if type(data) is bytes else None
    except ValueError:
        return None
