"""Workers and agent: what is said is understood, and nothing else gets past the decoders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.errors import WireError
from clustersession.wire.local import (
    Operation,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)


@given(st.sampled_from(Operation), st.integers(0, 2**31), st.lists(st.integers() | st.text()))
def test_a_request_comes_back(operation: Operation, token: int, argument: list) -> None:
    argument = [a for a in argument if not isinstance(a, int) or -(2**63) <= a < 2**64]
    data = encode_request(operation, token, *argument)
    assert decode_request(data) == (operation, token, argument)


@given(st.integers(0, 2**31), st.none() | st.booleans() | st.text())
def test_an_answer_comes_back(token: int, value: object) -> None:
    assert decode_answer(encode_answer(token, value)) == (token, value)


@given(st.binary(max_size=200))
def test_anything_else_is_a_wire_error(data: bytes) -> None:
    for decode in (decode_request, decode_answer):
        try:
            decode(data)
        except WireError:
            pass


def test_what_a_later_version_adds_is_passed_on_or_ignored() -> None:
    assert decode_request(b"\x94\x63\x05\x90\xc0") == (99, 5, [])
    assert decode_answer(b"\x93\x05\xc3\xc0") == (5, True)


@pytest.mark.parametrize("data", [b"\x92\x01\x00", b"\x93\xa1a\x00\x90", b"\x93\x01\x00\x00"])
def test_a_request_that_lacks_a_part_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_request(data)
