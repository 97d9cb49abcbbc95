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


def test_an_unknown_operation_is_refused_by_number() -> None:
    with pytest.raises(WireError, match="99"):
        decode_request(b"\x93\x63\x00\x90")
