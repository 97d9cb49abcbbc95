"""How things look on a terminal."""

from typing import Any

import pytest

from clustersession.operations.drain import Drain
from clustersession.tools.terminal import (
    detail_text,
    drain_text,
    members_text,
    sessions_text,
    status_text,
    table,
)

STATUS: dict[str, Any] = {
    "cluster_name": "shop", "route": "tomcat1", "node": "11", "phase": "ready", "seeds": [],
    "members": [
        {"route": "tomcat2", "node": "22", "address": "10.0.0.2:4000", "status": "dead",
         "phase": "ready", "serving": True, "since_s": 5400.0, "heard_s": 90.0, "behind_us": 7,
         "we_are_behind": 0, "carrier": "tcp", "reason": "silent for 3 s"},
    ],
    "work": {"lost_writes": 2, "unconfirmed": 0, "commits": 9}, "counters": {"gaps": 1},
}


def test_the_status_has_a_line_for_each_fact_and_each_trouble() -> None:
    lines = [line.split(None, 1) for line in status_text(STATUS).splitlines()]
    assert ["seeds", "-"] in lines
    assert ["members", "0 besides this node"] in lines
    assert ["count", "writes dropped because the session had ended: 2"] in lines
    assert ["count", "gaps: 1"] in lines
    assert "confirmed" not in status_text(STATUS)


def test_members_are_a_table_and_those_in_trouble_say_why() -> None:
    header, own, other, why = members_text(STATUS).splitlines()
    assert own.split()[:3] == ["tomcat1", "-", "self"]
    assert "1.5 h ago" in other
    assert "1.5 min ago" in other
    assert header.index("NODE") == own.index("11") == other.index("22")
    assert why == "tomcat2 (22): silent for 3 s"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("A", "B"), [["xyz", "1"], ["", "22"]]) == "A    B\nxyz  1\n     22"


@pytest.mark.parametrize(
    ("drain", "text", "done"),
    [
        (Drain("a", "joining", 1, {}), "a is joining and drains when it is ready", False),
        (Drain("a", "draining", 0, {}), "no other node to take over", True),
        (Drain("a", "draining", 2, {"c": 2, "b": 1}), "b lacks 1 changes, c lacks 2", False),
        (Drain("a", "draining", 2, {}), "2 other nodes hold all", True),
    ],
)
def test_what_is_shown(drain: Drain, text: str, done: bool) -> None:
    assert text in drain_text(drain)
    assert drain.done is done


HOSTILE = "\x1b]0;owned\x07\x1b[2J\n0 sessions, all well\u202e"


def test_no_name_of_an_application_steers_the_terminal() -> None:
    attribute = {"name": HOSTILE, "bytes": 1, "written": "now", "node": "1", "seq": 1}
    member = {**STATUS["members"][0], "reason": HOSTILE}
    shown = [
        detail_text({"principal": HOSTILE, "attribute_list": [attribute]}),
        members_text({**STATUS, "members": [member]}),
        status_text({**STATUS, "counters": {HOSTILE: 1}}),
        sessions_text([dict.fromkeys("abcdefgh", HOSTILE)]),
    ]
    for text in shown:
        assert all(c.isprintable() for c in text.replace("\n", "")), text
        assert "\n0 sessions" not in text
