"""Scripts: short stories of the protocol, with everything that the nodes say about them."""

from dataclasses import dataclass

import pytest

from tests.simulation.plan import Plan, Step
from tests.simulation.story import Story, laboratory


def visit(host: int, action: str, name: str = "x", think_ms: float = 0.0, browser: int = 0) -> Step:
    """A request of a browser to a host's first worker."""
    return ["visit", browser, host, 0, action, name, think_ms]


def wait(ms: float) -> Step:
    """Time passes."""
    return ["wait", ms]


@dataclass
class Script:
    """A plan, what is said from its first step on, and what must have happened on the way."""

    plan: Plan
    story: str
    marks: tuple[str, ...] = ()


SCRIPTS = {
    "a killed node's user goes on at the other": Script(
        Plan(hosts=2, steps=[
            visit(0, "set"), wait(20), ["kill", 0], wait(20), visit(1, "read"), wait(2000),
            ["start", 0], wait(1000), visit(0, "read"),
        ]),
        """
        browser0 at a: set unknown
        kill 0
        b: suspects a (connection lost)
        b: lost a (connection lost, connection refused)
        browser0 at b: read known
        start 0
        a: added b
        b: added a
        a: ready, caught up with its peers
        browser0 at a: read known
        """,
        ("failover rewrote a route",),
    ),
    "a host without power is missed after the drop time": Script(
        Plan(hosts=3, steps=[
            visit(0, "set"), wait(400), ["off", 0], wait(6000), visit(1, "read"), wait(10),
        ]),
        """
        browser0 at a: set unknown
        off 0
        b: suspects a (silent for 2.0 s)
        c: suspects a (silent for 2.0 s)
        b: lost a (silent for 3.5 s)
        c: lost a (silent for 3.5 s)
        browser0 at b: read known
        """,
        ("death noticed in time",),
    ),
    "a third node's word saves one that only we cannot hear": Script(
        Plan(hosts=3, steps=[wait(250), ["cut", 0, 1], wait(4000), ["heal"], wait(1000)]),
        """
        cut 0 1
        b: suspects a (silent for 1.8 s)
        a: suspects b (silent for 1.8 s)
        heal
        a: trusts again b
        b: trusts again a
        """,
        ("probe saved a slow member",),
    ),
    "writes on both sides of a cut are merged": Script(
        Plan(hosts=2, steps=[
            visit(0, "set", "x"), wait(50), ["cut", 0, 1], visit(0, "set", "y"),
            visit(1, "set", "z"), wait(8000), ["heal"], wait(4000),
        ]),
        """
        browser0 at a: set unknown
        cut 0 1
        browser0 at a: set known
        browser0 at b: set known
        a: suspects b (silent for 1.7 s)
        b: suspects a (silent for 1.7 s)
        a: lost b (silent for 3.2 s)
        b: lost a (silent for 3.2 s)
        heal
        b: added a
        a: added b
        """,
    ),
    "a logout behind a cut ends what the other side still writes to": Script(
        Plan(hosts=2, settings={"carrier": "tcp"}, steps=[
            visit(0, "set"), wait(50), ["cut", 0, 1], visit(1, "set", "z", 500), visit(0, "end"),
            wait(8000), ["heal"], wait(4000), visit(0, "read"), visit(1, "read"), wait(500),
        ]),
        """
        browser0 at a: set unknown
        cut 0 1
        browser0 at a: end known
        browser0 at b: set known
        a: suspects b (silent for 1.7 s)
        b: suspects a (silent for 1.7 s)
        a: lost b (silent for 3.2 s)
        b: lost a (silent for 3.2 s)
        heal
        b: added a
        a: added b
        browser0 at a: read unknown
        browser0 at b: read unknown
        """,
        ("late delta under a tombstone",),
    ),
    "when its donor dies a joining node goes on with another": Script(
        Plan(hosts=3, browsers=4, tiny=True, seed=1, steps=[
            *(visit(1, "set", browser=number) for number in range(4)), wait(100), ["wipe", 0],
            ["slow", 1, 0, 100], ["slow", 2, 0, 100], ["start", 0], wait(290), ["kill", 2],
            wait(2000),
        ]),
        """
        browser0 at b: set unknown
        browser1 at b: set unknown
        browser2 at b: set unknown
        browser3 at b: set unknown
        wipe 0
        slow 1 0 100
        slow 2 0 100
        start 0
        c: suspects a (connection lost)
        b: suspects a (connection lost)
        a: added c
        a: added b
        c: lost a (replaced by a new node at its address)
        c: added a
        b: lost a (replaced by a new node at its address)
        b: added a
        kill 2
        b: suspects c (connection lost)
        a: suspects c (connection lost)
        a: lost c (connection lost, connection refused)
        b: lost c (connection lost, connection refused)
        a: ready, loaded a snapshot
        """,
        ("snapshot resumed with another donor",),
    ),
    "a lost datagram is noticed and asked for again": Script(
        Plan(hosts=3, settings={"carrier": "multicast"}, steps=[
            ["drop", 0, 1, 1], visit(0, "set"), wait(100), visit(1, "read"), wait(100),
        ]),
        """
        drop 0 1 1
        browser0 at a: set unknown
        browser0 at b: read known
        """,
        ("gap repaired",),
    ),
    "a node that says goodbye is not missed": Script(
        Plan(hosts=2, steps=[
            visit(0, "set"), wait(400), ["leave", 0], wait(50), visit(1, "read"), wait(4000),
        ]),
        """
        browser0 at a: set unknown
        leave 0
        b: saw leave a (left)
        browser0 at b: read known
        """,
    ),
    "after a death the survivors compare notes at once": Script(
        Plan(hosts=3, settings={"carrier": "multicast"}, steps=[
            visit(0, "set"), wait(400), ["drop", 0, 1, 1], visit(0, "end", think_ms=1), wait(12),
            ["kill", 0], wait(600), visit(1, "read"), visit(2, "read"), wait(10),
        ]),
        """
        browser0 at a: set unknown
        drop 0 1 1
        browser0 at a: end known
        kill 0
        c: suspects a (connection lost)
        b: suspects a (connection lost)
        c: lost a (connection lost, connection refused)
        b: lost a (connection lost, connection refused)
        browser0 at b: read unknown
        browser0 at c: read unknown
        """,
        ("repaired after a death",),
    ),
    "a host that stood still suspects nobody for that": Script(
        Plan(hosts=2, steps=[wait(400), ["pause", 0, 3100], wait(5000)]),
        """
        pause 0 3100
        b: suspects a (silent for 2.0 s)
        b: trusts again a
        """,
    ),
    "a node that comes back asks whether its sessions were ended meanwhile": Script(
        Plan(hosts=3, steps=[
            visit(0, "login", "ann"), wait(20), ["leave", 0], wait(500),
            visit(1, "revoke", "ann", browser=1), wait(500), ["start", 0], visit(0, "read"),
            wait(100),
        ]),
        """
        browser0 at a: login unknown
        leave 0
        b: saw leave a (left)
        c: saw leave a (left)
        browser1 at b: revoke unknown
        start 0
        a: added c
        c: added a
        browser0 at a: read unknown
        b: added a
        a: added b
        """,
        ("end learned by coming back",),
    ),
    "what a process with a frozen clock writes is dated by its host": Script(
        Plan(hosts=2, steps=[
            ["freeze", 0, 0, 100_000_000_000], visit(0, "set"), wait(50), visit(1, "read"),
            wait(50),
        ]),
        """
        freeze 0 0 100000000000
        browser0 at a: set unknown
        browser0 at b: read known
        """,
    ),
    "what a wrong clock wrote is written again when the clock is right": Script(
        Plan(hosts=2, browsers=3, settings={
            "clock_skew_s_max": 5.0, "idle_timeout_s": 200.0, "absolute_timeout_s": 300.0,
        }, steps=[
            visit(0, "login", "ann"), visit(0, "login", "bob", browser=1), wait(100),
            ["step", 0, 50_000], visit(0, "set", "y"), wait(10),
            visit(0, "revoke", "bob", browser=2), wait(1500), visit(1, "read", browser=1),
            ["step", 0, 0], wait(3000), visit(1, "read"), visit(1, "read", browser=1), wait(50),
            visit(1, "set", "y"), wait(50),
        ]),
        """
        browser0 at a: login unknown
        browser1 at a: login unknown
        step 0 50000
        browser0 at a: set known
        browser2 at a: revoke unknown
        browser1 at b: read known
        step 0 0
        b: suspects a (connection lost)
        b: lost a (replaced by a new node at its address)
        b: added a
        a: added b
        a: ready, caught up with its peers
        browser0 at b: read known
        browser1 at b: read unknown
        browser0 at b: set known
        """,
        ("wrong times written again",),
    ),
    "one peer's no is not the answer": Script(
        Plan(hosts=3, settings={"carrier": "multicast", "ack": "none"}, steps=[
            wait(400), ["drop", 1, 0, 1], ["drop", 1, 2, 1], visit(1, "set"), wait(2),
            visit(2, "read"), wait(20),
        ]),
        """
        drop 1 0 1
        drop 1 2 1
        browser0 at b: set unknown
        browser0 at c: read known
        """,
        ("session fetched from a peer",),
    ),
    "a late request with the id from before a login sets no cookie": Script(
        Plan(hosts=2, steps=[
            visit(0, "set"), wait(20), visit(0, "login", "ann"), wait(20), visit(1, "late", "y"),
            wait(20), visit(1, "read"), wait(10), visit(1, "rotate"), wait(20),
            visit(0, "late", "y", think_ms=50), wait(100), visit(0, "read"), wait(31_000),
            visit(0, "late", "y"), wait(10),
        ]),
        """
        browser0 at a: set unknown
        browser0 at a: login known
        browser0 at b: late unknown
        browser0 at b: read known
        browser0 at b: rotate known
        browser0 at a: late unknown
        browser0 at a: read known
        browser0 at a: late unknown
        """,
        ("outdated id served empty",),
    ),
    "a slow reader's answer does not move an id that has ended meanwhile": Script(
        Plan(hosts=3, steps=[
            visit(0, "set"), wait(20), ["kill", 0], wait(600), visit(1, "read", think_ms=100),
            wait(20), visit(2, "login", "ann"), wait(200), visit(1, "read"), wait(10),
        ]),
        """
        browser0 at a: set unknown
        kill 0
        c: suspects a (connection lost)
        b: suspects a (connection lost)
        c: lost a (connection lost, connection refused)
        b: lost a (connection lost, connection refused)
        browser0 at c: login known
        browser0 at b: read known
        browser0 at b: read known
        """,
        ("failover rewrote a route",),
    ),
    "a session in use ends at its absolute timeout": Script(
        Plan(hosts=2, settings={"idle_timeout_s": 5.0, "absolute_timeout_s": 10.0}, steps=[
            visit(0, "set"), wait(4000), visit(0, "set"), wait(4000), visit(1, "set"),
            wait(1500), visit(0, "read"), wait(1000), visit(0, "read"), visit(1, "read"), wait(500),
        ]),
        """
        browser0 at a: set unknown
        browser0 at a: set known
        browser0 at b: set known
        browser0 at a: read known
        browser0 at a: read unknown
        browser0 at b: read unknown
        """,
    ),
    "an open request keeps its session on all nodes, and its end is a use": Script(
        Plan(hosts=3, settings={"idle_timeout_s": 5.0, "absolute_timeout_s": 60.0}, steps=[
            visit(0, "set"), wait(300), visit(1, "download", think_ms=18_000), wait(17_000),
            ["visit", 1, 0, 0, "read", "", 0.0], wait(5900), visit(2, "read"), wait(5500),
            visit(0, "read"), wait(10),
        ]),
        """
        browser0 at a: set unknown
        browser0 at b: download known
        browser1 at a: read unknown
        browser0 at c: read known
        browser0 at a: read unknown
        """,
        ("session of an open request lives everywhere",),
    ),
    "an upload that takes longer than the idle timeout logs nobody out": Script(
        Plan(hosts=2, settings={"idle_timeout_s": 5.0, "absolute_timeout_s": 60.0}, steps=[
            visit(0, "set"), wait(300), visit(1, "set", "y", think_ms=18_000), wait(18_100),
            visit(0, "read"), wait(5500), visit(1, "read"), wait(10),
        ]),
        """
        browser0 at a: set unknown
        browser0 at b: set known
        browser0 at a: read known
        browser0 at b: read unknown
        """,
        ("session of an open request lives everywhere",),
    ),
    "a request that stays open for ever ends with its session": Script(
        Plan(hosts=2, settings={"idle_timeout_s": 5.0, "absolute_timeout_s": 20.0}, steps=[
            visit(0, "set"), wait(300), visit(1, "download", think_ms=90_000), wait(19_000),
            ["visit", 1, 0, 0, "read", "", 0.0], visit(0, "read"), wait(1000), visit(0, "read"),
            visit(1, "read"), wait(10),
        ]),
        """
        browser0 at a: set unknown
        browser0 at b: download known
        browser1 at a: read unknown
        browser0 at a: read known
        browser0 at a: read unknown
        browser0 at b: read unknown
        """,
    ),
    "when its worker dies, the session of an open request ends as ever": Script(
        Plan(hosts=2, settings={"idle_timeout_s": 5.0, "absolute_timeout_s": 60.0}, steps=[
            visit(0, "set"), wait(300), visit(1, "download", think_ms=90_000), wait(9000),
            ["worker", 1, 0], wait(4500), ["visit", 1, 0, 0, "read", "", 0.0], wait(1500),
            visit(0, "read"), visit(1, "read"), wait(10),
        ]),
        """
        browser0 at a: set unknown
        browser0 at b: download known
        worker 1 0
        browser1 at a: read unknown
        browser0 at a: read unknown
        browser0 at b: read unknown
        """,
    ),
    "a session that was only read lives as long from then": Script(
        Plan(hosts=2, settings={"idle_timeout_s": 10.0}, steps=[
            visit(0, "set"), wait(300), visit(1, "read"), wait(9900), visit(0, "read"),
            wait(11_000), visit(1, "read"), wait(10),
        ]),
        """
        browser0 at a: set unknown
        browser0 at b: read known
        browser0 at a: read known
        browser0 at b: read unknown
        """,
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_nodes_tell_this_story(name: str) -> None:
    script = SCRIPTS[name]
    told = Story(script.plan, remember=True)
    with laboratory(tiny=script.plan.tiny, ahead=script.plan.ahead):
        told.begin()
        before = len(told.world.lines or [])
        for step in script.plan.steps:
            told.tell(step)
    lines = [line[9:] for line in (told.world.lines or [])[before:]]
    assert lines == [line.strip() for line in script.story.strip().splitlines()]
    for mark in script.marks:
        assert told.world.marks[mark], mark
