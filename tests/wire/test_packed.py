"""Bytes that claim to hold much cost no more than they are, and honest ones come out."""

import tracemalloc

import msgpack
import pytest

from clustersession.wire.packed import unpack, unpack_plain


def peak_bytes(data: bytes) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(Exception):  # noqa: B017 - msgpack has several of its own
            unpack(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_lists_that_claim_more_than_there_is_get_no_room() -> None:
    # Each claims 65,535 elements and holds the next one.
    data = b"\xdc\xff\xff" * 500
    assert peak_bytes(data) < 100 * len(data)


@pytest.mark.parametrize("value", [
    None, 7, b"x" * 1000, b"\xdc\xdd" * 500, [1] * 70_000, {"a": [[], {}]}, [[0] * 20] * 300,
])
def test_what_is_whole_comes_out(value: object) -> None:
    data = msgpack.packb(value)
    assert unpack(data) == value
    assert unpack(memoryview(data)) == value
    assert unpack_plain(data) == value


def test_maps_that_become_lists_of_pairs_get_no_more_room_than_lists() -> None:
    data = b"\xde\x05\x00\xc0" * 500 + bytes(1000)
    tracemalloc.start()
    try:
        with pytest.raises(Exception):  # noqa: B017 - msgpack has several of its own
            unpack(data, strict_map_key=False, object_pairs_hook=dict)
        assert tracemalloc.get_traced_memory()[1] < 100 * len(data)
    finally:
        tracemalloc.stop()


def test_options_are_msgpacks() -> None:
    assert unpack(msgpack.packb([1]), use_list=False) == (1,)


def test_nodes_write_no_bytes_full_of_empty_lists() -> None:
    crowded = msgpack.packb([[] for _ in range(200_000)])
    assert len(unpack(crowded)) == 200_000
    with pytest.raises(ValueError, match="too many lists"):
        unpack_plain(crowded)
    usual = [["key" * 8, b"data"] for _ in range(20_000)]
    assert unpack_plain(msgpack.packb(usual)) == usual
