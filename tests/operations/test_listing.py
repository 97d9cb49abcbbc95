"""Rows of sessions and members: what they tell, and what stays out of them."""

from typing import Any

import pytest

from clustersession.core.ids import log_name
from clustersession.core.state import ENDED_REVOKED, Change
from clustersession.operations import listing
from clustersession.operations.listing import (
    in_order,
    member_rows,
    session_detail,
    session_row,
    session_rows,
    when,
)
from tests.operations.sessions import DAY_MS, KEYS, NOW, filled


@pytest.mark.parametrize("page", [1, 2, 500])
def test_sessions_are_listed_page_by_page(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", page)
    replica = filled()
    replica.commit([Change(KEYS[0], NOW, end=ENDED_REVOKED)], NOW)
    names = [log_name(key) for key in replica.keys("", 10) if key in KEYS]
    live = [name for name in names if name != log_name(KEYS[0])]
    assert [row["session"] for row in session_rows(replica, 10, NOW)] == live
    everything = session_rows(replica, 10, NOW, with_ended=True)
    assert [row["session"] for row in everything] == names
    assert {row["session"] for row in everything if row["state"] == "ended (revoked)"} == {
        log_name(KEYS[0])
    }
    assert [row["session"] for row in session_rows(replica, 1, NOW)] == live[:1]
    assert session_rows(replica, 0, NOW) == []


def test_a_row_tells_neither_id_nor_values_nor_user() -> None:
    replica = filled()
    state = replica.get(KEYS[0])
    assert state is not None
    row = session_row(KEYS[0], state, NOW)
    assert (row["state"], row["attributes"]) == ("live", 1)
    assert session_row(KEYS[0], state, NOW + 200_000 * DAY_MS)["state"] == "expired"
    detail = session_detail(KEYS[0], state, NOW)
    assert [a["name"] for a in detail["attribute_list"]] == ["cart"]
    for secret in (KEYS[0], "ann", "tea"):
        assert secret not in str(detail)


def test_this_node_is_the_first_member_and_the_others_are_in_order() -> None:
    def member(route: str, status: str) -> dict[str, Any]:
        return {"route": route, "status": status}

    status = {"route": "own", "node": "11", "phase": "no agent", "uptime_s": 2.9, "members": [
        member("b", "dead"), member("c", "alive"), member("a", "alive"),
    ]}
    assert [m["route"] for m in in_order(status)] == ["a", "c", "b"]
    own, *_ = member_rows(status)
    assert (own["route"], own["status"], own["uptime_s"]) == ("own", "self", 2)
    assert own["address"] is None


def test_a_moment_is_in_utc() -> None:
    assert when(NOW) == "2023-11-14 22:13:20"
