"""The live parts of the overview: what the banner says, what is listed, and what stays the same."""

from typing import Any

import pytest

from clustersession.operations.observing import Snapshot
from clustersession.tools.dashboard.sections import MEMBERS_SHOWN_MAX, PARTS, member_rows, sections
from tests.tools.dashboard.hostile import member
from tests.tools.stores import away, reached


def snapshot(
    *members: dict[str, Any], at_ms: int = 0, trouble: str = "", **values: Any
) -> Snapshot:
    status = {
        "cluster_name": "shop", "route": "tomcat1", "node": "11", "address": "10.0.0.1:4000",
        "phase": "ready", "agent_pid": 1, "workers": [7], "carrier": "tcp", "sessions": 1234,
        "tombstones": 0, "feed_head": 1, "replica_bytes": 2**21, "serving": True,
        "members": list(members), **values,
    }
    return Snapshot(at_ms, status, [[0, "info", "first"], [1000, "warning", "second"]], {}, 1,
                    trouble=trouble)


SLOW = reached(slow=True, round_trip_ms=900.0)
AWAY = away(behind=3, oldest_s=95.0)


@pytest.mark.parametrize(("seen", "kind", "text"), [
    (snapshot(member("b")), "good", "All nodes are there and in step."),
    (snapshot(), "warn", "This node is alone"),
    (snapshot(member("b", behind_us=3)), "warn", "b is not in step"),
    (snapshot(member("b", behind_us=3), phase="joining"), "warn", "This node is joining"),
    (snapshot(member("b", status="suspect"), phase="joining"), "warn", "b is not heard"),
    (snapshot(member("b", status="dead"), member("c", status="suspect")), "bad", "b is lost"),
    (snapshot(member("b", status="dead"), trouble="no agent"), "bad", "no agent"),
    (Snapshot(0, {}, trouble="no node"), "bad", "no node"),
    (snapshot(store=reached()), "good", "All nodes are there"),
    (snapshot(store=SLOW), "warn", "The store is slow"),
    (snapshot(store=reached(drops=True)), "bad", "The store is full and drops sessions"),
    (snapshot(member("b", status="dead"), store=AWAY), "bad", "away: nobody listens. This node"),
])
def test_the_banner_says_the_worst(seen: Snapshot, kind: str, text: str) -> None:
    summary = sections(seen)["summary"]
    assert f'"banner {kind}"' in summary
    assert text in summary


def test_a_store_is_told_of_in_the_place_of_the_carrier() -> None:
    work = {"fetches": 9, "fetched": 8}
    shown = sections(snapshot(store=reached(), work=work))["figures"]
    for text in ("valkey:6379, 0.4 ms", "9 misses here, 8 of them found; 5 refreshes",
                 "closed: 2", "4 keys dropped there"):
        assert text in shown
    assert "multicast" not in shown
    shown = sections(snapshot(store=AWAY))["figures"]
    assert "valkey:6379, 1 min: nobody listens" in shown
    assert "to be told, the oldest since 1 min" in shown
    assert "multicast off" in sections(snapshot(multicast="off"))["figures"]


def test_every_part_is_always_there_and_only_the_clock_moves() -> None:
    first, second = sections(snapshot(member("b"))), sections(snapshot(member("b"), at_ms=1000))
    assert tuple(first) == PARTS
    assert set(sections(Snapshot(0, {}))) == set(PARTS)
    assert [name for name in PARTS if first[name] != second[name]] == ["clock"]
    assert first["clock"] == "1970-01-01 00:00:00 UTC"


def test_the_newest_line_is_first_and_commands_can_be_pasted() -> None:
    parts = sections(snapshot(member("b"), member("c; reboot")))
    assert parts["timeline"].index("second") < parts["timeline"].index("first")
    assert "clustersession --route b drain" in parts["others"]
    assert "--route &#39;c; reboot&#39; drain" in parts["others"]
    assert "1,234" in parts["figures"]
    assert "2.0 MiB" in parts["figures"]


def test_a_node_that_has_come_back_is_listed_once() -> None:
    back = member("b")
    gone = member("b", status="dead", node="old")
    assert member_rows(snapshot(gone, back))[0]["status"] == "alive"
    assert len(member_rows(snapshot(gone, back))) == 1
    many = [member(f"n{number}") for number in range(MEMBERS_SHOWN_MAX + 5)]
    assert len(member_rows(snapshot(*many))) == MEMBERS_SHOWN_MAX
