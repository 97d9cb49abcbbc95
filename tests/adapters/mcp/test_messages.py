"""Bodies are read once and served twice; what is no handshake is not taken for one."""

import json
from typing import Any

import pytest

from clustersession.mcp.messages import (
    INITIALIZE_BYTES_MAX,
    RepeatableBody,
    deleting,
    header,
    posting,
    refusal,
)

SCOPE = {"type": "http", "method": "GET", "path": "/mcp", "headers": [
    (b"authorization", b"Bearer x"), (b"mcp-session-id", b"ours"), (b"last-event-id", b"4-1"),
    (b"content-length", b"9"),
]}  # fmt: skip


def receiving(*parts: bytes) -> Any:
    messages = [
        {"type": "http.request", "body": part, "more_body": number < len(parts)}
        for number, part in enumerate(parts, 1)
    ]

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return receive


async def test_a_body_that_was_looked_at_is_there_for_whoever_comes_next() -> None:
    body = RepeatableBody(receiving(b'{"method": "initialize", ', b'"id": 1, "params": {"a": 1}}'))
    assert await body.initialize_params() == {"a": 1}
    for _ in range(2):
        receive = body.reader()
        assert (await receive())["body"] == b'{"method": "initialize", '
        assert (await receive())["more_body"] is False
    body.forget()
    assert (await receive())["type"] == "http.disconnect"


@pytest.mark.parametrize("content", [
    b"", b"[]", b"{", b"\xff", b"[" * 16_000, b'{"method": "initialize"}',
    b'{"method": "tools/call", "id": 1}', b'{"id": 1, "method": ["initialize"]}',
])  # fmt: skip
async def test_what_is_no_handshake(content: bytes) -> None:
    assert await RepeatableBody(receiving(content)).initialize_params() is None


async def test_a_long_handshake_is_none() -> None:
    long = json.dumps({"method": "initialize", "id": 1, "more": "x" * INITIALIZE_BYTES_MAX})
    assert await RepeatableBody(receiving(long.encode())).initialize_params() is None


async def test_a_client_that_goes_away_makes_no_handshake() -> None:
    assert await RepeatableBody(receiving()).initialize_params() is None


async def test_a_request_of_ours_has_the_credentials_and_nothing_of_the_other_request() -> None:
    scope, receive = posting(SCOPE, {"id": 1}, "local")
    assert scope["method"] == "POST"
    assert header(scope["headers"], b"authorization") == "Bearer x"
    assert header(scope["headers"], b"last-event-id") == ""
    assert header(scope["headers"], b"mcp-session-id") == "local"
    assert header(scope["headers"], b"content-length") == "9"
    assert (await receive())["body"] == b'{"id": 1}'
    assert deleting(SCOPE, "local")[0]["method"] == "DELETE"


def test_a_refusal_is_json_rpc() -> None:
    start, body = refusal(404, "no").messages()
    assert start["status"] == 404
    assert json.loads(body["body"])["error"]["message"] == "no"
