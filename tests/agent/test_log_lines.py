"""A line of the log is one object with its fields, tracebacks included."""

import json
import logging
import sys

import pytest

from clustersession.agent.log_lines import log_formatter
from clustersession.core.membership import MemberLost
from tests.agent.reporting import event_log, member


def as_json(record: logging.LogRecord) -> dict[str, object]:
    line = log_formatter("json").format(record)
    assert "\n" not in line
    found: dict[str, object] = json.loads(line)
    return found


def test_an_event_is_an_object_with_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    event_log().report(MemberLost(member("silent\nfor 3 s")))
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
