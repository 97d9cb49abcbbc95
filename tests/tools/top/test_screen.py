"""What top shows, from looks that are made up."""

from typing import Any

import pytest

from clustersession.tools.terminal import printable
from clustersession.tools.top.screen import Look, Style, bytes_text, rates, screen


def member(number: int, status: str = "alive") -> dict[str, Any]:
    return {
        "route": f"node{number}", "address": f"10.0.0.{number}:4000", "status": status,
        "phase": "ready", "serving": True, "since_s": 5.0, "heard_s": 0.1, "behind_us": 0,
        "we_are_behind": 7, "carrier": "tcp", "node": "00", "reason": "",
    }


def look(at_s: float, members: int = 2, events: int = 3, **values: Any) -> Look:
    status = {
        "cluster_name": "shop", "route": "tomcat1", "phase": "ready", "node": "11",
        "members": [member(n) for n in range(members)], "sessions": 12, "tombstones": 3,
        "replica_bytes": 2**20, "map_bytes": 2**34, "workers": [1, 2], "applied": 0,
        "work": {"commits": 0}, **values,
    }
    lines = [[1_000 * n, "warning" if n == 1 else "info", f"line {n}"] for n in range(events)]
    return Look(at_s, status, lines)


def texts(now: Look, width: int = 200, height: int = 40) -> list[str]:
    return [text for text, _ in screen(None, now, width, height)]


def test_it_shows_the_node_its_members_and_its_log() -> None:
    shown = "\n".join(texts(look(0)))
    for part in ("shop", "tomcat1", "3 nodes", "sessions 12, ended 3", "1.0 MiB of 16.0 GiB",
                 "node0", "node1", "7 changes", "line 2"):
        assert part in shown


def test_rates_are_per_second_and_a_new_agent_is_no_negative_rate() -> None:
    before, now = look(10, work={"commits": 100}, applied=5), look(12, work={"commits": 150})
    found = rates(before, now)
    assert found["commits"] == 25
    assert found["applied"] == 0
    assert set(rates(None, now).values()) == {0.0}
    assert rates(now, now)["commits"] == 0


@pytest.mark.parametrize("height", [1, 2, 5, 8, 12, 24])
@pytest.mark.parametrize("width", [1, 20, 80])
def test_it_fits_any_terminal(width: int, height: int) -> None:
    lines = texts(look(0, members=50, events=200), width, height)
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)


def test_nodes_in_trouble_come_first_and_the_hidden_are_counted() -> None:
    members = [member(n) for n in range(30)]
    members[20]["status"], members[25]["status"] = "dead", "suspect"
    members[20]["reason"] = "silent for 3 s"
    lines = screen(None, Look(0, {**look(0).status, "members": members}), 200, 14)
    shown = [text for text, style in lines if style is Style.ERROR]
    assert len(shown) == 1
    assert "node20" in shown[0]
    assert any("and 2" in text and "more" in text for text, _ in lines)
    rows = [text for text, _ in lines]
    assert rows.index(shown[0]) < next(n for n, text in enumerate(rows) if "node0 " in text)


def test_the_log_has_its_newest_lines() -> None:
    lines = screen(None, look(0, events=200), 200, 20)
    assert lines[-1][0].endswith("line 199")


def test_a_terminal_is_not_given_orders() -> None:
    assert printable("a\x1b[2Jb\r\n\u202ec") == "a?[2Jb???c"


def test_the_status_of_an_older_agent_will_do() -> None:
    status = {k: v for k, v in look(0).status.items() if k not in ("work", "applied", "map_bytes")}
    assert screen(look(0), Look(1, status), 80, 24)


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"),
                                            (2**50, "1024.0 TiB")])
def test_sizes(size: int, text: str) -> None:
    assert bytes_text(size) == text
