"""Frames: any chunking yields the same payloads, and no length is believed beyond the bound."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustersession.core.errors import WireError
from clustersession.wire.frames import FrameDecoder, encode_frame, split_first_frame

payloads = st.lists(st.binary(max_size=60), max_size=12)


def chunked(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


@settings(max_examples=200)
@given(payloads, st.lists(st.integers(min_value=0), max_size=30))
def test_any_chunking_yields_the_same_frames(sent: list[bytes], cuts: list[int]) -> None:
    decoder = FrameDecoder(bytes_max=60)
    stream = b"".join(map(encode_frame, sent))
    received = [frame for chunk in chunked(stream, cuts) for frame in decoder.receive(chunk)]
    assert received == sent
    assert all(type(frame) is bytes for frame in received)


@settings(max_examples=50)
@given(payloads)
def test_byte_by_byte(sent: list[bytes]) -> None:
    decoder = FrameDecoder(bytes_max=60)
    stream = b"".join(map(encode_frame, sent))
    assert [f for byte in stream for f in decoder.receive(bytes([byte]))] == sent


@pytest.mark.parametrize("pieces", [1, 2, 4])
def test_a_length_beyond_the_bound_is_refused_before_its_payload(pieces: int) -> None:
    decoder = FrameDecoder(bytes_max=10)
    header = (11).to_bytes(4, "big")
    *before, last = [header[start : start + pieces] for start in range(0, 4, pieces)]
    for piece in before:
        assert decoder.receive(piece) == []
    with pytest.raises(WireError, match="11 bytes exceeds the limit of 10"):
        decoder.receive(last)


def test_a_frame_of_exactly_the_bound_passes() -> None:
    assert FrameDecoder(bytes_max=10).receive(encode_frame(b"x" * 10)) == [b"x" * 10]


@settings(max_examples=100)
@given(st.binary(max_size=300), st.lists(st.integers(min_value=0), max_size=10))
def test_arbitrary_bytes_raise_nothing_but_wire_errors(noise: bytes, cuts: list[int]) -> None:
    decoder = FrameDecoder(bytes_max=100)
    try:
        for chunk in chunked(noise, cuts):
            assert all(len(frame) <= 100 for frame in decoder.receive(chunk))
    except WireError:
        pass


@settings(max_examples=100)
@given(st.binary(max_size=50), st.binary(max_size=50))
def test_the_first_frame_is_split_from_what_follows(first: bytes, rest: bytes) -> None:
    stream = encode_frame(first) + rest
    assert split_first_frame(stream, 50) == (first, rest)
    for length in range(4 + len(first)):
        assert split_first_frame(stream[:length], 50) is None


def test_the_first_frame_is_bounded() -> None:
    with pytest.raises(WireError):
        split_first_frame((51).to_bytes(4, "big"), 50)
