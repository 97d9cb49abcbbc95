"""The judge of the frameworks' tests notices what is not as expected."""

from pathlib import Path

from tests.frameworks.entry import Difference, Entry, load_entries
from tests.frameworks.judge import Result, complaints, read_results, report

REPORT = """<testsuites><testsuite>
<testcase classname="t" name="a"><properties><property name="id" value="t.py::a"/>
<property name="opened" value="3"/></properties></testcase>
<testcase classname="t" name="b"><properties><property name="id" value="t.py::b"/>
<property name="opened" value="0"/></properties>
<failure message="assert 1 == 2&#10;more">trace</failure></testcase>
<testcase classname="t" name="c"><skipped message="no greenlet"/></testcase>
</testsuite></testsuites>"""

RESULTS = [
    Result("t.py::a", "passed", 3), Result("t.py::b", "failed", 0, "assert 1 == 2"),
    Result("t::c", "skipped", 0, "no greenlet"),
]


def entry(*differences: Difference, passed: int = 1) -> Entry:
    return Entry("x", "x==1", (), "plugin", (), passed, differences=differences)


def test_results_are_read(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    path.write_text(REPORT)
    assert read_results(path) == RESULTS


def test_all_is_well_only_when_every_failure_has_its_reason() -> None:
    assert complaints(entry(Difference("t.py::b", "chosen")), RESULTS) == []
    assert "1 passed, 1 of them with sessions of ours; 1 failed; 1 skipped" in report(
        entry(), RESULTS
    )
    for wrong, said in (
        (entry(), "no reason is given: assert 1 == 2"),
        (entry(Difference("t.py::b", " ")), "t.py::b: no reason is given"),
        (entry(Difference("t.py::b", "chosen", "docs/nowhere.md")), "there is no docs/nowhere"),
        (entry(Difference("t.py::b", "chosen"), passed=2), "1 tests pass, expected are 2"),
    ):
        (complaint,) = complaints(wrong, RESULTS)
        assert said in complaint
    both = entry(Difference("t.py::b", "x"), Difference("t.py::a", "x"), Difference("gone", "x"))
    assert complaints(both, RESULTS) == [
        "t.py::a passed, but is expected to fail", "gone was not run, but is expected to fail",
    ]
    fine = entry(Difference("t.py::b", "chosen"))
    assert complaints(fine, RESULTS, 1) == []
    assert "no session is in the store" in complaints(fine, RESULTS, 0)[0]
    untouched = [Result("t.py::a", "passed", 0)]
    assert "the plugin does nothing" in complaints(entry(), untouched)[0]


def test_every_entry_can_be_read() -> None:
    entries = load_entries()
    assert {"flask", "flask_session"} <= {entry.name for entry in entries}
    for known in entries:
        assert (Path(__file__).parent / "plugins" / f"{known.plugin}.py").exists()
