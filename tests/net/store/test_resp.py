"""Answers are found however the stream is cut; whatever else comes is WireError."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.errors import WireError
from clustersession.net.store.resp import (
    ANSWER_BYTES_MAX,
    ELEMENTS_MAX,
    TOO_LONG,
    ErrorReply,
    PushMessage,
    RespDecoder,
    command,
)

ANSWERS: list[tuple[bytes, Any]] = [
    (b"+OK\r\n", b"OK"),
    (b"-ERR no such thing\r\n", ErrorReply("ERR no such thing")),
    (b"!9\r\nOOM a\r\nbc\r\n", ErrorReply("OOM a\r\nbc")),
    (b":-12\r\n", -12),
    (b"$4\r\na\r\nb\r\n", b"a\r\nb"),
    (b"$0\r\n\r\n", b""),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"_\r\n", None),
    (b"#t\r\n", True),
    (b"#f\r\n", False),
    (b",1.5\r\n", b"1.5"),
    (b"(123\r\n", b"123"),
    (b"=7\r\ntxt:abc\r\n", b"abc"),
    (b"*0\r\n", []),
    (b"*2\r\n*1\r\n:1\r\n~1\r\n+a\r\n", [[1], [b"a"]]),
    (b"%2\r\n+a\r\n:1\r\n$1\r\nb\r\n*0\r\n", {b"a": 1, b"b": []}),
    (b"|1\r\n+ttl\r\n:3\r\n*1\r\n|1\r\n+x\r\n+y\r\n:1\r\n", [1]),
    (b">2\r\n+invalidate\r\n_\r\n", PushMessage([b"invalidate", None])),
]


@given(st.lists(st.sampled_from(ANSWERS), max_size=6), st.data())
def test_answers_are_found_however_they_are_cut(
    answers: list[tuple[bytes, Any]], data: st.DataObject
) -> None:
    stream = b"".join(written for written, _ in answers)
    decoder, found = RespDecoder(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += decoder.feed(stream[:size])
        stream = stream[size:]
    assert found == [answer for _, answer in answers]


@pytest.mark.parametrize(
    "said",
    [
        b"\r\n", b"OK\r\n", b":\r\n", b":1_0\r\n", b": 1\r\n", b":--1\r\n",
        b":" + b"9" * 30 + b"\r\n",
        b"$x\r\n", b"$1\r\nab\r\n", b"%1\r\n*0\r\n:1\r\n", b"*1\r\n" * 20,
        b"+" + b"x" * 70_000, b"*?\r\n", b">%d\r\n" % (ELEMENTS_MAX + 1) + b"_\r\n" * ELEMENTS_MAX
        + b"_\r\n",
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(said: bytes) -> None:
    with pytest.raises(WireError):
        RespDecoder().feed(said)


def test_an_answer_that_is_too_long_is_passed_over() -> None:
    decoder = RespDecoder()
    half, data = b"$%d\r\n" % (ANSWER_BYTES_MAX // 2 + 1), b"x" * (ANSWER_BYTES_MAX // 2 + 1)
    assert decoder.feed(b"*3\r\n" + half + data + b"\r\n" + half) == []
    for at in range(0, len(data), 2**20):
        assert decoder.feed(data[at : at + 2**20]) == []
        assert len(decoder._buffer) <= 2**20
    [answer, following] = decoder.feed(b"\r\n+x\r\n:7\r\n")
    assert (answer.code, following) == (TOO_LONG, 7)
    for said in (
        b"*%d\r\n" % (ELEMENTS_MAX + 1) + b"_\r\n" * (ELEMENTS_MAX + 1),
        b"%%%d\r\n" % ELEMENTS_MAX + b"_\r\n" * (2 * ELEMENTS_MAX),
    ):
        [answer, following] = decoder.feed(said + b":7\r\n")
        assert (answer.code, following) == (TOO_LONG, 7)


@given(st.binary() | st.text("$*%>|:+-_#,(=!0123456789\r\n-?ab").map(str.encode))
def test_no_other_error_comes_of_any_bytes(said: bytes) -> None:
    try:
        RespDecoder().feed(said)
    except WireError:
        pass


def test_commands() -> None:
    assert command("SET", b"k\r\n", 7, "é") == (
        b"*4\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$1\r\n7\r\n$2\r\n\xc3\xa9\r\n"
    )
