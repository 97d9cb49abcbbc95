"""Streams of a live page, from the real command."""

import http.client
import json
from contextlib import ExitStack
from typing import Any

import pytest

from clustersession.tools.dashboard.live import STREAMS_MAX
from tests.support.processes import wait_for
from tests.tools.dashboard.visitor import Visitor

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


def test_streams_are_bounded_and_only_changes_are_sent(link: str) -> None:
    visitor = Visitor(link)
    visitor.enter()
    with ExitStack() as open_streams:
        def stream() -> http.client.HTTPResponse:
            connection = http.client.HTTPConnection("127.0.0.1", visitor.link.port, timeout=20)
            open_streams.callback(connection.close)
            connection.request("GET", "/events", headers={"Cookie": visitor.cookie})
            return connection.getresponse()

        streams = [stream() for _ in range(STREAMS_MAX)]
        assert {response.status for response in streams} == {200}
        assert stream().status == 503
        sent = [next_data(streams[0]) for _ in range(3)]
        assert set(sent[0]) == {
            "summary", "picture", "nodes", "timeline", "figures", "others", "clock"
        }
        assert any(set(later) <= {"clock", "nodes"} for later in sent[1:])
    wait_for(lambda: visitor_streams(visitor), "the streams to be counted off")


def next_data(response: http.client.HTTPResponse) -> dict[str, Any]:
    while not (line := response.readline()).startswith(b"data: "):
        assert line
    found: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
    return found


def visitor_streams(visitor: Visitor) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", visitor.link.port, timeout=20)
    try:
        connection.request("GET", "/events", headers={"Cookie": visitor.cookie})
        return connection.getresponse().status == 200
    finally:
        connection.close()
