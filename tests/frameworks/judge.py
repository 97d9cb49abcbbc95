"""Compares what a framework's tests did with what is expected of them."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from tests.frameworks.entry import ROOT, Entry


@dataclass(frozen=True, slots=True)
class Result:
    """One test of theirs. ``outcome``: passed, failed or skipped; ``opened``: sessions of ours."""

    test: str
    outcome: str
    opened: int = 0
    said: str = ""


def read_results(report: Path) -> list[Result]:
    """The results in a JUnit report that ``ours_opened`` has taken notes in."""
    results = []
    for case in ElementTree.parse(report).iter("testcase"):
        notes = {p.get("name"): p.get("value") or "" for p in case.iter("property")}
        test = notes.get("id", f"{case.get('classname')}::{case.get('name')}")
        outcome, said = "passed", ""
        for kind, name in (("skipped", "skipped"), ("failure", "failed"), ("error", "failed")):
            element = case.find(kind)
            if element is not None:
                outcome, said = name, (element.get("message") or "").partition("\n")[0]
        results.append(Result(test, outcome, int(notes.get("opened") or 0), said))
    return results


def complaints(entry: Entry, results: list[Result], stored: int | None = None) -> list[str]:
    """What is not as the entry says; nothing when all is well.

    ``stored``: how many sessions are in the store afterwards; None without one.
    """
    found = []
    by_test = {result.test: result for result in results}
    expected = {difference.test for difference in entry.differences}
    for result in results:
        if result.outcome == "failed" and result.test not in expected:
            found.append(f"{result.test} fails, and no reason is given: {result.said}")
    for difference in entry.differences:
        known = by_test.get(difference.test)
        if known is None:
            found.append(f"{difference.test} was not run, but is expected to fail")
        elif known.outcome != "failed":
            found.append(f"{difference.test} {known.outcome}, but is expected to fail")
        if not difference.why.strip():
            found.append(f"{difference.test}: no reason is given")
        if difference.documented and not (ROOT / difference.documented).exists():
            found.append(f"{difference.test}: there is no {difference.documented}")
    passed = [result for result in results if result.outcome == "passed"]
    if len(passed) != entry.passed:
        found.append(f"{len(passed)} tests pass, expected are {entry.passed}")
    if not any(result.opened for result in passed):
        found.append("no test that passes has opened a session of ours: the plugin does nothing")
    if stored == 0:
        found.append("no session is in the store: that there was one shows nothing")
    return found


def report(entry: Entry, results: list[Result]) -> str:
    """A few lines for people: the counts, and every failure with its reason."""
    passed = [result for result in results if result.outcome == "passed"]
    ours = sum(result.opened > 0 for result in passed)
    failed = sum(result.outcome == "failed" for result in results)
    skipped = len(results) - len(passed) - failed
    lines = [
        f"{entry.name} ({entry.source}): {len(passed)} passed, {ours} of them with sessions of "
        f"ours; {failed} failed; {skipped} skipped"
    ]
    for difference in entry.differences:
        where = f" [{difference.documented}]" if difference.documented else ""
        lines.append(f"    {difference.test}: {difference.why}{where}")
    return "\n".join(lines)
