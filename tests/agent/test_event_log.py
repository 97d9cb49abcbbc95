"""News becomes lines: no event floods the log, each is counted, and each is documented."""

import logging
import re
from pathlib import Path

import pytest

from clustersession.agent import event_log as module
from clustersession.agent.event_log import TOLD_MAX
from clustersession.core.ids import log_name
from clustersession.core.membership import MemberAdded, MemberLost
from clustersession.node import news
from clustersession.node.news import News
from clustersession.wire.envelope import DropReason
from tests.agent.reporting import NODE, event_log, member
from tests.documents import table_rows

ROOT = Path(__file__).parents[2]


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
    event: News, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    # On a busy machine it may take longer than the log allows for a flood.
    monkeypatch.setattr(module.time, "monotonic", lambda: 100.0)
    tested, times = event_log(), 3 * TOLD_MAX
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


def test_no_part_of_a_key_stands_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    key = "Q" * 23
    event_log().report(news.TooLarge(key))
    assert "QQ" not in caplog.text
    assert log_name(key) in caplog.text


def test_another_cluster_on_the_group_warns_of_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    now_s = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now_s[0])
    tested = event_log()
    for _ in range(600):
        now_s[0] += 1.0
        for reason in (DropReason.UNKNOWN_KEY, DropReason.OTHER_CLUSTER):
            tested.dropped_datagram(reason, "10.0.0.2")
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO"]
    assert tested.events["dropped_datagram"] == 1200
    tested.dropped_datagram(DropReason.FORGED, "10.0.0.2")
    assert caplog.records[-1].levelname == "WARNING"
