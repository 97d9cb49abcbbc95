"""What was sent and not received is had again, at any worker, as far as it is kept."""

import asyncio
import json
from typing import Any

import pytest
from mcp.server.streamable_http import EventMessage

from clustersession.core.errors import SessionTooLarge
from clustersession.mcp import ClusterEventStore, events
from clustersession.mcp.events import LOGS_MAX, stored_session
from clustersession.mcp.transports import Transport, serving
from clustersession.worker.runtime import Runtime


@pytest.fixture
def transport(state: Any) -> Any:
    runtime = Runtime.from_options({})
    manager = runtime.manager()
    visit = manager.open([])
    visit.session["count"] = 1
    manager.save(visit)
    assert visit.identifier is not None
    yield Transport(runtime, visit.identifier, "local")
    runtime.close()


def elsewhere(transport: Transport) -> Transport:
    """Make the transport of another worker for the same session."""
    return Transport(transport.runtime, transport.session_id, "other")


def message(**fields: Any) -> Any:
    return events._message.validate_python({"jsonrpc": "2.0", **fields})


def answer(request_id: int, text: str = "") -> Any:
    return message(id=request_id, result={"content": text})


PROGRESS = message(method="notifications/progress", params={"progressToken": 1, "progress": 1})


async def store(transport: Transport, stream: str, what: Any, **bounds: int) -> str:
    with serving(transport):
        return await ClusterEventStore(**bounds).store_event(stream, what)


async def replay(transport: Transport, last: str) -> tuple[str | None, list[Any]]:
    """Return the stream that goes on, and what was sent."""
    sent: list[EventMessage] = []

    async def take(event: EventMessage) -> None:
        sent.append(event)

    with serving(transport):
        stream = await ClusterEventStore().replay_events_after(last, take)
    return stream, [json.loads(event.message.model_dump_json(by_alias=True)) for event in sent]


async def test_an_answer_is_had_at_another_worker_and_other_streams_are_not(
    transport: Transport,
) -> None:
    first = await store(transport, "1", None)
    await store(transport, "2", answer(2))
    await store(transport, "1", PROGRESS)
    await store(transport, "1", answer(1))
    stream, sent = await replay(elsewhere(transport), first)
    assert stream is None
    assert [one.get("id", one.get("method")) for one in sent] == ["notifications/progress", 1]


async def test_a_stream_goes_on_at_its_own_worker(transport: Transport) -> None:
    first = await store(transport, "1", None)
    await store(transport, "1", PROGRESS)
    stream, sent = await replay(transport, first)
    assert stream == "1"
    assert len(sent) == 1


async def test_the_stream_of_no_request_goes_on_wherever_its_client_is(
    transport: Transport,
) -> None:
    first = await store(transport, "_GET_stream", PROGRESS)
    await store(transport, "_GET_stream", PROGRESS)
    stream, sent = await replay(elsewhere(transport), first)
    assert stream == "_GET_stream"
    assert len(sent) == 1


async def test_an_answer_that_comes_later_elsewhere_is_waited_for(transport: Transport) -> None:
    first = await store(transport, "1", None)
    waiting = asyncio.create_task(replay(elsewhere(transport), first))
    await asyncio.sleep(0)
    await store(transport, "1", answer(1))
    async with asyncio.timeout(10):
        _, sent = await waiting
    assert [one["id"] for one in sent] == [1]


async def test_what_fastmcp_puts_before_a_stream_is_another_for_each_transport(
    transport: Transport,
) -> None:
    other = elsewhere(transport)
    first = await store(transport, "3:abc:1", None)
    await store(transport, "3:abc:1", answer(1))
    await store(other, "3:xyz:0", answer(0))
    stream, sent = await replay(other, first)
    assert stream == "3:xyz:1"
    assert len(sent) == 1


@pytest.mark.parametrize("last", ["", "x", "-", "0123-1", "0123-" + "9" * 400, "a-b", "0-\u0661"])
async def test_an_event_of_nobody_brings_nothing(transport: Transport, last: str) -> None:
    await store(transport, "1", answer(1))
    assert await replay(transport, last) == (None, [])


async def test_events_of_another_session_bring_nothing(transport: Transport) -> None:
    first = await store(transport, "1", None)
    await store(transport, "1", answer(1))
    manager = transport.runtime.manager()
    visit = manager.open([])
    visit.session["count"] = 1
    manager.save(visit)
    stranger = Transport(transport.runtime, str(visit.identifier), "local")
    assert await replay(stranger, first) == (None, [])


async def test_a_log_is_bounded_and_the_last_is_kept(transport: Transport) -> None:
    bounds = {"events_max": 5, "bytes_max": 400}
    for _ in range(20):
        before = await store(transport, "1", PROGRESS, **bounds)
    await store(transport, "1", answer(1), **bounds)
    assert len(transport.log.events) <= 5
    assert sum(len(text) for _, _, text in transport.log.events) <= 400
    assert [one["id"] for one in (await replay(elsewhere(transport), before))[1]] == [1]


async def test_an_answer_that_is_too_large_is_told_as_an_error(transport: Transport) -> None:
    first = await store(transport, "1", None)
    await store(transport, "1", answer(1, "x" * 500), bytes_max=200)
    (sent,) = (await replay(elsewhere(transport), first))[1]
    assert sent["id"] == 1
    assert "200 bytes" in sent["error"]["message"]


async def test_a_session_holds_few_logs(transport: Transport) -> None:
    for _ in range(LOGS_MAX + 3):
        await store(elsewhere(transport), "1", answer(1))
    async with stored_session(transport) as session:
        assert session is not None
        assert len([name for name in session if name.startswith("mcp.events.")]) == LOGS_MAX
        assert session["count"] == 1


async def test_what_cannot_be_stored_is_said_in_the_log_and_sent_all_the_same(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(_: object) -> None:
        raise SessionTooLarge("too large")

    first = await store(transport, "1", None)
    monkeypatch.setattr(transport.runtime.manager(), "save_async", refuse)
    await store(transport, "1", answer(1))
    assert "an event of MCP could not be stored for other nodes: too large" in caplog.text
    assert len((await replay(transport, first))[1]) == 1


async def test_an_event_brings_no_ended_session_back(transport: Transport) -> None:
    await store(transport, "1", None)
    manager = transport.runtime.manager()
    visit = manager.open([transport.session_id])
    visit.invalidate()
    manager.save(visit)
    await store(transport, "1", answer(1))
    async with stored_session(transport) as session:
        assert session is None


async def test_without_the_middleware_the_store_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="ClusterMCPMiddleware"):
        await ClusterEventStore().store_event("1", None)
