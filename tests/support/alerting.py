"""Which of the example's alerts fire, as Prometheus itself computes it from scraped metrics."""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.apps import ROOT
from tests.support.processes import find_program, require_programs

ALERTS = ROOT / "examples" / "prometheus" / "alerts.yml"
BEFORE_MIN = 10
DURING_MIN = 20

Samples = Mapping[str, float]
"""Values by name and labels, as they stand in a query."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """What a node exposed at that second, by series."""

    at_s: float
    samples: Samples


def scraped(text: str, instance: str) -> dict[str, float]:
    """The samples of an exposition, with the label that Prometheus puts to them."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {"instance": instance, **sample.labels}
            inside = ",".join(f'{name}="{value}"' for name, value in labels.items())
            found[f"{sample.name}{{{inside}}}"] = sample.value
    return found


def lasting(before: Scrape, first: Scrape, second: Scrape) -> dict[str, list[float | None]]:
    """Values a minute apart: all was as before, then it goes on as between the two scrapes.

    Counters go on at the same rate, everything else stays as it was seen last.
    """
    per_min = 60 / (second.at_s - first.at_s)
    series: dict[str, list[float | None]] = {}
    for name in {*before.samples, *second.samples}:
        old, seen, last = (s.samples.get(name) for s in (before, first, second))
        grows = 0.0
        if re.match(r"\w+_total\{", name) and last is not None and seen is not None:
            grows = max(0.0, last - seen) * per_min
        series[name] = [
            *[old] * BEFORE_MIN,
            *(None if last is None else last + grows * n for n in range(DURING_MIN)),
        ]
    return series


def firing(series: Mapping[str, Sequence[float | None]]) -> frozenset[str]:
    """The alerts that fire at the end of these series, which have a value for each minute."""
    expressions = ALERTS.read_text()
    asked = {
        name: values for name, values in series.items() if name.partition("{")[0] in expressions
    }
    minutes = max(len(values) for values in asked.values()) - 1
    said = _promtool({
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": [
                {"series": name, "values": " ".join(map(_text, values))}
                for name, values in asked.items()
            ],
            "promql_expr_test": [{
                "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{minutes}m",
                # Never so: what promtool found instead is what we want to know.
                "exp_samples": [{"labels": '{alertname="none of ours"}', "value": 1}],
            }],
        }],
    })
    found = re.search(r"got:(.*)", said)
    if found is None:
        raise AssertionError(said)
    return frozenset(name for name in alert_names() if re.search(rf"\b{name}\b", found[1]))


def steady(looks: Sequence[Set[str]], wanted: Iterable[str]) -> set[str]:
    """The alerts that last, of looks that follow each other.

    A worker tells its counts after somebody has looked, so what it counted before shows as growth
    in one look, and no more in the next. What is wanted may grow too slowly for each look.
    """
    lasts = {name for one, next_ in pairwise(looks) for name in one & next_}
    return lasts | {name for look in looks for name in look if name in wanted}


def alert_names() -> list[str]:
    """Every alert of the example."""
    return re.findall(r"^ +- alert: (\w+)$", ALERTS.read_text(), re.MULTILINE)


def _promtool(test: Mapping[str, object]) -> str:
    require_programs("promtool")
    promtool = find_program("promtool")
    assert promtool is not None
    with tempfile.TemporaryDirectory() as directory:
        # JSON is YAML.
        path = Path(directory) / "test.yml"
        path.write_text(json.dumps(test))
        done = subprocess.run(
            [promtool, "test", "rules", str(path)], capture_output=True, text=True, timeout=30
        )
        return done.stdout + done.stderr


def _text(value: float | None) -> str:
    return "_" if value is None else repr(float(value))


def merged(parts: Iterable[Mapping[str, list[float | None]]]) -> dict[str, list[float | None]]:
    """The series of several nodes together."""
    return {name: values for part in parts for name, values in part.items()}
