"""Spans of fetches, commits and confirmations, as an application with OpenTelemetry gets them."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from werkzeug.test import Client

from clustersession.asgi import ClusterSessionMiddleware as AsgiMiddleware
from clustersession.core.errors import ConfigurationError
from clustersession.session.measuring import MeasuredStep
from clustersession.worker.runtime import Runtime
from clustersession.worker.tracing import trace_of
from clustersession.wsgi import ClusterSessionMiddleware as WsgiMiddleware
from tests.worker.thread_nodes import login, opened, running_nodes

USER, NAME, VALUE = "zoe.telltale@example.org", "telltale_basket", "telltale-card-4711"


class Spans:
    """What an application's tracer provider was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.framework = self.provider.get_tracer("a framework")
        # The provider of a process can be set once only.
        monkeypatch.setattr("opentelemetry.trace.get_tracer", self.provider.get_tracer)

    def all(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def ours(self) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name.startswith("clustersession.")]

    def names(self) -> list[str]:
        return [span.name.removeprefix("clustersession.") for span in self.ours()]

    def in_request(self) -> bool:
        """Whether all of ours stand below the one span of the request, within its time."""
        (request,) = [span for span in self.all() if span.name == "request"]
        assert request.start_time is not None
        assert request.end_time is not None
        return all(
            span.parent is not None
            and span.parent.span_id == request.get_span_context().span_id
            and request.start_time <= (span.start_time or 0) <= (span.end_time or 0)
            and (span.end_time or 0) <= request.end_time
            for span in self.ours()
        )


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    found = Spans(monkeypatch)
    yield found
    found.provider.shutdown()


def test_without_the_setting_there_is_no_span(spans: Spans) -> None:
    runtime = Runtime.from_options({})
    try:
        login(runtime.manager(), "ann")
    finally:
        runtime.close()
    assert spans.all() == []


def test_without_the_setting_the_package_is_not_loaded() -> None:
    code = (
        "import sys; from clustersession.worker.runtime import Runtime;"
        "runtime = Runtime.from_options({}); runtime.manager(); runtime.close();"
        "sys.exit('opentelemetry' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_the_setting_without_the_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    runtime = Runtime.from_options({"tracing": True})
    with pytest.raises(ConfigurationError, match=r"install clustersession\[tracing\]"):
        runtime.manager()


def test_two_nodes_and_nothing_that_tells_who_or_what(spans: Spans, tmp_path: Path) -> None:
    with running_nodes(tmp_path, 2, tracing=True, fetch_timeout_s=5.0) as (first, second):
        cookie = login(first.manager(), USER)
        session = opened(first.manager(), cookie)
        session[NAME] = VALUE
        first.manager().commit(session._visit)
        # Authentic, and held by nobody: peers are asked for it.
        unknown = first.manager().context.signer.mint(b"telltale" * 2)
        assert opened(second.manager(), unknown).new
        first.manager().sessions().end_all(USER)
    assert set(spans.names()) == {"fetch", "commit", "confirm"}
    secrets = {USER, NAME, VALUE, cookie, cookie.partition(".")[0], unknown, unknown[:16]}
    for span in spans.all():
        assert not span.events
        assert not span.links
        assert span.status.description is None
        told = f"{span.name} {dict(span.attributes or {})} {span.to_json()}"
        assert not [secret for secret in secrets if secret in told]
        assert not [word for word in ("telltale", "zoe", "session.id", "enduser") if word in told]


def test_a_span_has_route_size_and_outcome(spans: Spans) -> None:
    runtime = Runtime.from_options({"tracing": True, "route": "tomcat7"})
    try:
        login(runtime.manager(), "ann")
    finally:
        runtime.close()
    commit, confirmation = spans.ours()
    assert commit.attributes is not None
    assert commit.attributes.keys() == {
        "clustersession.route", "clustersession.outcome", "clustersession.size_bytes",
    }
    assert commit.attributes["clustersession.route"] == "tomcat7"
    assert commit.attributes["clustersession.outcome"] == "stored"
    assert (confirmation.attributes or {})["clustersession.outcome"] == "confirmed"
    assert commit.status.status_code is StatusCode.UNSET
    assert commit.instrumentation_scope is not None
    assert commit.instrumentation_scope.name == "clustersession"


def test_an_error_is_told_by_its_class_alone(spans: Spans) -> None:
    trace_of("a")(MeasuredStep("confirm", 2_000_000, "unconfirmed", 5, "timeout"))
    (span,) = spans.ours()
    assert (span.attributes or {})["error.type"] == "timeout"
    assert span.status.status_code is StatusCode.ERROR
    assert (span.end_time or 0) - (span.start_time or 0) == 2_000_000


def test_a_processor_that_fails_harms_no_request_and_is_logged_once(
    spans: Spans, caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            raise RuntimeError("the exporter is gone")

    spans.provider.add_span_processor(Broken())
    runtime = Runtime.from_options({"tracing": True})
    with caplog.at_level(logging.ERROR, logger="clustersession"):
        try:
            for _ in range(3):
                login(runtime.manager(), "ann")
        finally:
            runtime.close()
    assert len([r for r in caplog.records if "span could not be made" in r.getMessage()]) == 1


def test_spans_of_a_wsgi_application_stand_below_its_request(spans: Spans) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["clustersession.session"]["n"] = 1
        start_response("200 OK", [])
        return [b"ok"]

    inner = WsgiMiddleware(application, tracing=True)

    def instrumented(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with spans.framework.start_as_current_span("request"):
            return inner(environ, start_response)

    try:
        assert Client(instrumented).get("/").text == "ok"
    finally:
        inner.runtime.close()
    assert spans.names() == ["commit", "confirm"]
    assert spans.in_request()


async def test_spans_of_an_asgi_application_stand_below_its_request(spans: Spans) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["n"] = 1
        # The answer may come from another task than the request.
        await asyncio.create_task(answer(send))

    async def answer(send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    sent: list[dict[str, Any]] = []
    middleware = AsgiMiddleware(application, tracing=True)
    try:
        with spans.framework.start_as_current_span("request"):
            await middleware(
                {"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send
            )
    finally:
        middleware.runtime.close()
    assert sent[-1]["body"] == b"ok"
    assert spans.names() == ["commit", "confirm"]
    assert spans.in_request()
