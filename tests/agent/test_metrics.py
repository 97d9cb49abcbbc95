"""The metrics: their names and docs, what stands in examples, and what rendering costs."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from clustersession.agent.metrics import METRICS, ROUTES_MAX, peers_by_route
from clustersession.agent.metrics_exposition import exposed
from clustersession.core.counters import Counters
from tests.agent.metrics_example import EXAMPLE, member, text
from tests.documents import table_rows
from tests.support.processes import find_program, require_programs

ROOT = Path(__file__).parents[2]

DASHBOARD = ROOT / "examples" / "grafana" / "clustersession.json"

ALERTS = ROOT / "examples" / "prometheus" / "alerts.yml"

NAMES = {metric.sample_name: metric for metric in METRICS}

COMMON_LABELS = {"job", "instance"}


def samples(status: dict[str, Any]) -> dict[str, float]:
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text(status).splitlines() if not line.startswith("#")
    }


def test_the_documented_metrics_are_those_of_the_code() -> None:
    rows = table_rows(ROOT / "docs" / "operations" / "watch.md", "metric", "labels", "meaning")
    documented = {
        name.strip("`"): tuple(re.findall(r"`(\w+)`", labels)) for name, labels, _ in rows
    }
    assert documented == {name: metric.labels for name, metric in NAMES.items()}


def test_names_and_units_are_by_prometheus_conventions() -> None:
    assert len(NAMES) == len(METRICS)
    for name, metric in NAMES.items():
        assert re.fullmatch(r"(clustersession|process)_[a-z_]+[a-z]", name)
        assert name.endswith("_total") == (metric.kind == "counter"), name
        assert not re.search(r"(_ms|milliseconds|_kb|_s)$", metric.name), name
        assert metric.help.endswith("."), name


def test_a_status_becomes_samples() -> None:
    found = samples({
        "cluster_name": 'a "b"', "route": "tomcat1", "node": "00", "version": "1", "phase": "ready",
        "serving": True, "workers": [7, 8], "members": [member(1), member(2, "dead")],
        "work": {"commits": 5}, "replica_bytes": 4096, "disk_free_bytes": 8, "carrier": "tcp",
        "connections_refused": {"tls": 2}, "process": {"started_ms": 2500},
    })
    assert found['clustersession_members{status="alive"}'] == 1
    assert found['clustersession_members{status="dead"}'] == 1
    assert found['clustersession_peer_up{peer="node2"}'] == 0
    assert found['clustersession_peer_behind_entries{peer="node1"}'] == 3
    assert 'clustersession_peer_behind_entries{peer="node2"}' not in found
    assert found['clustersession_peer_clock_skew_seconds{peer="node1"}'] == 1.5
    assert found["clustersession_commits_total"] == 5
    assert found["clustersession_workers"] == 2
    assert found["clustersession_disk_free_bytes"] == 8
    assert found['clustersession_connections_refused_total{reason="tls"}'] == 2
    assert found['clustersession_carrier{carrier="tcp"}'] == 1
    assert found["process_start_time_seconds"] == 2.5
    (info,) = [name for name in found if "node_info" in name]
    assert 'cluster="a \\"b\\""' in info


def test_durations_become_a_histogram_and_ends_have_their_reason() -> None:
    counters = Counters(created=4, ended_limit=2)
    for took_ms in (0.05, 0.2, 0.2, 9000):
        counters.confirm.add(round(took_ms * 1e6))
    found = samples({"phase": "ready", "members": [], "work": counters.told()})
    name = "clustersession_confirm_seconds"
    assert found[f'{name}_bucket{{le="0.0001"}}'] == 1
    assert found[f'{name}_bucket{{le="0.00025"}}'] == 3
    assert found[f'{name}_bucket{{le="2.5"}}'] == 3
    assert found[f'{name}_bucket{{le="+Inf"}}'] == found[f"{name}_count"] == 4
    assert found[f"{name}_sum"] == pytest.approx(9.00045)
    assert found["clustersession_fetch_seconds_count"] == 0
    assert found["clustersession_sessions_created_total"] == 4
    assert found['clustersession_sessions_ended_total{reason="limit"}'] == 2
    assert found['clustersession_sessions_ended_total{reason="revoked"}'] == 0


def test_promtool_accepts_the_histograms() -> None:
    require_programs("promtool")
    promtool = find_program("promtool")
    assert promtool is not None
    told = text({"phase": "ready", "members": [], "work": Counters().told()})
    subprocess.run([promtool, "check", "metrics"], input=told.encode(), check=True, timeout=30)


def test_a_node_without_an_agent_has_fewer() -> None:
    found = samples({"phase": "no agent", "members": [], "sessions": 3})
    assert found["clustersession_sessions"] == 3
    assert "clustersession_commits_total" not in found


def test_a_route_stands_once_and_there_are_not_many() -> None:
    twice = [
        member(1, "dead", since_s=1.0, heard_s=9.0), member(1, heard_s=0.5),
        member(2, "dead", since_s=9.0, heard_s=8.0), member(2, "dead", since_s=2.0, heard_s=7.0),
        member(3, "left"),
    ]
    chosen = peers_by_route({"members": twice})
    assert {route: m["heard_s"] for route, m in chosen.items()} == {"node1": 0.5, "node2": 7.0}
    many = [member(n, "dead") for n in range(5000)]
    assert len(peers_by_route({"members": many})) == ROUTES_MAX


def test_what_is_rendered_without_a_pause_stays_small_with_many_members() -> None:
    # Not a time: the number of samples that one step renders, which bounds it.
    status = {"phase": "ready", "members": [member(n) for n in range(256)]}
    sizes = [part.count(b"\n") for part in exposed(status)]
    assert len(sizes) == len(METRICS)
    assert max(sizes) <= 256 + 2


def dashboard_queries() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    return [query.replace("$__rate_interval", "1m") for query in queries]


def alert_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("query", [*dashboard_queries(), *(r["expr"] for r in alert_rules())])
def test_every_query_is_valid_and_asks_for_what_there_is(query: str) -> None:
    promql_parser.parse(query)
    selectors = re.findall(r"\b((?:clustersession|process)_\w+)(?:\{([^}]*)\})?", query)
    assert selectors
    for name, matchers in selectors:
        labels = set(re.findall(r"(\w+)[!=]=?~?\"", matchers))
        assert labels <= {*NAMES[name].labels, *COMMON_LABELS}, query
        for label, value in re.findall(r"(\w+)!?=~?\"([\w|]+)\"", matchers):
            known = {row[0][0] for row in NAMES[name].rows(EXAMPLE)}
            assert label in COMMON_LABELS or set(value.split("|")) <= known, query


def test_the_dashboard_can_be_imported() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert dashboard["schemaVersion"] >= 36
    assert {"title", "uid", "panels", "templating", "time"} <= dashboard.keys()
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in dashboard["panels"]]
    assert len(places) == len(set(places))
    for panel in dashboard["panels"]:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))


def test_the_dashboard_has_the_middle_and_the_end_of_every_histogram() -> None:
    steps = {metric.name for metric in METRICS if metric.kind == "histogram"}
    shown = " ".join(dashboard_queries())
    assert steps
    for quantile in ("0.5", "0.99"):
        found = rf"histogram_quantile\({quantile}, .*?(clustersession_\w+_seconds)_bucket"
        assert set(re.findall(found, shown)) == steps


def test_alerts_say_what_is_wrong() -> None:
    for rule in alert_rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]


def test_promtool_accepts_rules_and_metrics() -> None:
    require_programs("promtool")
    promtool = find_program("promtool")
    assert promtool is not None
    subprocess.run([promtool, "check", "rules", str(ALERTS)], check=True, timeout=30)
    status = {"phase": "ready", "members": [member(1)], **EXAMPLE, "work": {"commits": 1}}
    subprocess.run(
        [promtool, "check", "metrics"], input=text(status).encode(), check=True, timeout=30
    )
