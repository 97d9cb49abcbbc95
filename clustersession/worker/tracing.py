"""Has OpenTelemetry know how long fetches, commits and confirmations took: an extra.

No other module knows that there is such a thing. A span holds the node's route, a size and an
outcome, and never an id, a value or a user: who reads traces is not who may read sessions.
"""

import logging
import time

from clustersession import __version__
from clustersession.core.errors import ConfigurationError
from clustersession.session.measuring import MeasuredStep, Trace

_log = logging.getLogger("clustersession")


def trace_of(route: str) -> Trace:
    """Return what makes a span of each step, below the span that its request has by then.

    Raises ConfigurationError without the package.
    """
    # Imported here: a worker without the setting does not need the package.
    try:
        from opentelemetry.trace import StatusCode, get_tracer
    except ImportError as error:
        raise ConfigurationError(
            "tracing needs the package opentelemetry-api; install clustersession[tracing], or "
            "leave tracing at false"
        ) from error

    tracer = get_tracer("clustersession", __version__)
    failures: list[Exception] = []

    def trace(step: MeasuredStep) -> None:
        ended_ns = time.time_ns()
        try:
            span = tracer.start_span(
                f"clustersession.{step.name}", start_time=ended_ns - step.took_ns,
                attributes=_attributes(route, step),
            )
            if step.error:
                span.set_status(StatusCode.ERROR)
            span.end(ended_ns)
        except Exception as error:
            # A session is worth more than its trace. Once: it is the same for each request.
            if not failures:
                failures.append(error)
                _log.exception("clustersession: a span could not be made; requests go on")

    return trace


def _attributes(route: str, step: MeasuredStep) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "clustersession.route": route,
        "clustersession.outcome": step.outcome,
        "clustersession.size_bytes": step.size_bytes,
    }
    if step.error:
        attributes["error.type"] = step.error
    return attributes


def require_api() -> None:
    """Raise a ConfigurationError that says what to install if opentelemetry-api is missing."""
    trace_of("")
