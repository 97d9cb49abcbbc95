"""Writes the metrics as Prometheus reads them, with ``prometheus-client``, an extra."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family

from clustersession.agent.metrics import METRICS, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposed(status: Mapping[str, Any]) -> Iterator[bytes]:
    """Write one metric at a time, so that the caller can do something else in between."""
    for metric in METRICS:
        yield generate_latest(_One(_family(metric, status)))


class _One:
    """Registers one metric."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def collect(self) -> Iterator[Family]:
        yield self._family


def _family(metric: Metric, status: Mapping[str, Any]) -> Family:
    if metric.kind == "histogram":
        return _histogram(metric, status)
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in metric.rows(status):
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, status: Mapping[str, Any]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help)
    buckets = [(labels[0], value) for labels, value in metric.rows(status)]
    if buckets:
        _, total = buckets.pop()
        family.add_metric((), buckets, sum_value=total)
    return family
