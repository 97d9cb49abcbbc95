"""What people are told of a store, in few words."""

from clustersession.tools.store_view import store_advice, store_facts, store_line, store_word
from clustersession.tools.terminal import members_text, status_text
from clustersession.tools.top.screen import Look, Style, screen
from tests.tools.stores import away, reached

STATUS = {
    "cluster_name": "shop", "route": "tomcat1", "node": "11", "phase": "ready", "seeds": [],
    "members": [], "sessions": 0, "tombstones": 0, "replica_bytes": 0,
}


def test_a_line_says_where_how_since_when_and_what_waits() -> None:
    assert store_line(reached()) == (
        "store valkey:6379: reached for 1.2 min, 0.4 ms; 0 changes wait"
    )
    assert store_line(reached(slow=True, behind=1, oldest_s=2.0)) == (
        "store valkey:6379: SLOW, 0.4 ms; 1 change waits, the oldest for 2.0 s"
    )
    assert store_line(away(behind=3, oldest_s=61.0)) == (
        "store valkey:6379: AWAY for 1.2 min; 3 changes wait, the oldest for 1.0 min; "
        "nobody listens"
    )
    assert "is being compared with it" in store_line(reached(compared=False))
    assert "is being compared with it" not in store_line(away(compared=False))
    assert "DROPS sessions: raise its maxmemory" in store_line(reached(drops=True))


def test_one_that_is_full_says_what_stays_here_and_what_to_do() -> None:
    store = reached(state="full", refused=2, slow=True)
    assert store_word(store) == "full"
    assert store_line(store) == (
        "store valkey:6379: FULL for 1.2 min, 0.4 ms; 0 changes wait; "
        "it has no space for 2 sessions"
    )
    assert "Raise its maxmemory" in store_advice(store)
    facts = dict(store_facts(store, {}))
    assert facts["store"] == "valkey:6379, full for 1.2 min"
    assert facts["store servers"] == "valkey 9.1"
    assert facts["store refused"] == "it has no space for 2 sessions"
    status = {**STATUS, "store": store}
    assert "FULL" in members_text(status)
    assert "raise its maxmemory" in status_text(status).lower()
    assert any("FULL" in str(line) for line in screen(None, Look(0.0, status), 200, 24))


def test_what_to_do_is_said_while_it_is_away() -> None:
    assert store_advice(reached()) == ""
    assert "serves the sessions that it holds" in store_advice(away())
    assert "what to do" in dict(store_facts(away(), {}))


def test_all_facts_are_listed() -> None:
    facts = dict(store_facts(reached(behind=2, oldest_s=0.5), {"fetches": 9, "fetched": 8}))
    assert facts == {
        "store": "valkey:6379, reached for 1.2 min", "store servers": "valkey 9.1",
        "store round trip": "0.4 ms", "store behind": "2 changes wait, the oldest for 0.5 s",
        "store reads": "9 misses here, 8 of them found; 5 refreshes",
        "store evictions": "6 sessions left this node; 4 keys dropped there, which uses 1.0 MiB "
                           "without a bound",
        "store errors": "closed: 2",
    }


def test_an_agent_of_before_tells_less() -> None:
    new = ("slow", "where", "oldest_s", "refreshed", "evicted", "dropped", "drops", "errors",
           "memory_bytes", "memory_bytes_max")
    for store in (reached(), away()):
        old = {name: value for name, value in store.items() if name not in new}
        status = {**STATUS, "store": old}
        assert "store" in status_text(status)
        assert "store" in members_text(status)
        assert screen(None, Look(0.0, status), 80, 24)


def test_status_members_and_top_show_it() -> None:
    status = {**STATUS, "store": away(behind=3)}
    assert "valkey:6379, away for 1.2 min: nobody listens" in status_text(status)
    assert "store valkey:6379: AWAY" in members_text(status)
    lines = screen(None, Look(0.0, status), 200, 24)
    assert [style for text, style in lines if "AWAY" in text] == [Style.ERROR]
    assert any("errors closed: 2" in text for text, _ in lines)
