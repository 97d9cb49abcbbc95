"""The agent's log: names and fields of events for programs, and no event floods it."""

import json
import logging
import re
import sys
from pathlib import Path

import pytest

from clustersession.agent.event_log import TOLD_MAX, EventLog
from clustersession.agent.log_lines import log_formatter
from clustersession.core.identity import Address, Identity
from clustersession.core.membership import Member, MemberAdded, MemberLost, Status
from clustersession.node import news
from clustersession.node.news import News
from clustersession.settings.settings import Settings
from tests.documents import table_rows

ROOT = Path(__file__).parents[2]
NODE = b"n" * 8


def member(reason: str = "") -> Member:
    identity = Identity(NODE, 1, "tomcat2", Address("10.0.0.2", 4000))
    return Member(identity, Status.ALIVE, since_s=0.0, heard_s=0.0, reason=reason)


def reporter() -> EventLog:
    return EventLog(Settings(), lambda node: "tomcat2")


def as_json(record: logging.LogRecord) -> dict[str, object]:
    line = log_formatter("json").format(record)
    assert "\n" not in line
    found: dict[str, object] = json.loads(line)
    return found


def test_an_event_is_an_object_with_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reporter().report(MemberLost(member("silent\nfor 3 s")))
    (record,) = caplog.records
    line = as_json(record)
    assert str(line.pop("time")).endswith("+00:00")
    assert line == {
        "level": "warning", "logger": "clustersession.agent", "event": "member_lost",
        "text": "member lost: tomcat2 at 10.0.0.2:4000 (node 6e6e6e6e): silent\nfor 3 s",
        "peer": "tomcat2", "address": "10.0.0.2:4000", "node": "6e6e6e6e",
        "reason": "silent\nfor 3 s",
    }
    assert log_formatter("text").format(record).endswith("silent\nfor 3 s")


def test_lines_of_libraries_and_tracebacks_are_objects_too() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        record = logging.LogRecord("x", 40, "", 1, "it %s", ("broke",), sys.exc_info())
    line = as_json(record)
    assert line["event"] == "line"
    assert line["text"] == "it broke"
    assert "ValueError: no" in str(line["traceback"])


def all_news() -> list[News]:
    found: list[News] = [
        MemberAdded(member()), MemberLost(member("gone")), news.BecameReady("loaded"),
        news.SnapshotLoading(NODE, 1, 2), news.ClockSkewed(NODE, 3000), news.FutureRefused(NODE),
        news.PastLost(NODE), news.MulticastUnheard(), news.MulticastHeard(), news.Repaired(NODE, 2),
        news.GapFound(NODE), news.TooLarge("key"), news.MessageDropped(NODE, "nonsense"),
    ]
    return found


@pytest.mark.parametrize("event", all_news(), ids=lambda event: type(event).__name__)
def test_no_event_floods_the_log_and_each_is_counted(
    event: News, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tested, times = reporter(), 3 * TOLD_MAX
    for _ in range(times):
        tested.report(event)
    assert len(caplog.records) <= TOLD_MAX + 1
    assert list(tested.events.values()) == [times]


def test_the_documented_events_are_those_of_the_code() -> None:
    call = re.compile(
        r'(?:seldom|_tell)\(\s*"(?:info|warning|error)",\s*"(\w+)"|"event": "(\w+)"'
        r'|events\["(\w+)"\]'
    )
    in_code = {
        name
        for path in (ROOT / "clustersession" / "agent").glob("*.py")
        for names in call.findall(path.read_text()) for name in names if name
    }
    in_code |= {"dropped_datagram", "dropped_connection_refused", "dropped_not_a_peer",
                "dropped_message", "line"}
    rows = table_rows(ROOT / "docs" / "operations" / "watch.md", "event", "fields", "when")
    assert {name.strip("`") for name, *_ in rows} == in_code
