"""Prometheus's own parser reads what is exposed."""

from prometheus_client.parser import text_string_to_metric_families

from clustersession.agent.metrics import METRICS
from tests.agent.metrics_example import EXAMPLE, member, text


def test_the_text_parses() -> None:
    status = {**EXAMPLE, "members": [member(n) for n in range(256)]}
    families = list(text_string_to_metric_families(text(status)))
    assert len(families) == len(METRICS)
