"""Real agents under attack, short: they go on, and it costs little. ``ports.py`` has it longer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzzing.ports import MIB, VALUE_BYTES, Cost, LiveNode, begin, measure, pair
from tests.support.processes import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]

WAIT_S_MAX = 4.0
"""A machine shared with the attacker and two agents; without an attack it takes a millisecond."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[LiveNode]]:
    with pair(tmp_path_factory.mktemp("nodes")) as nodes:
        yield nodes


def assert_cheap(cost: Cost, *, bytes_max: int, lines_max: int) -> None:
    print(cost)
    assert cost.grown_bytes <= bytes_max, str(cost)
    assert len(cost.lines) <= lines_max, "\n".join(cost.lines)
    assert len(cost.waits_s) >= 3, str(cost)
    assert cost.wait_s(0.5) <= WAIT_S_MAX / 4, str(cost)
    assert max(cost.waits_s) <= WAIT_S_MAX, str(cost)


def test_a_flood_of_datagrams_is_counted_and_nothing_else(nodes: list[LiveNode]) -> None:
    node = nodes[0]
    attack = ["datagrams", "228.0.0.4", str(node.ports.multicast_port), "30000"]
    cost = measure("datagrams", node, attack)
    assert_cheap(cost, bytes_max=20 * MIB, lines_max=12)
    counters = node.status()["counters"]
    assert sum(n for name, n in counters.items() if name.startswith("dropped: datagram")) > 1000
    assert node.members() == {"tomcat2"}


def test_connections_with_garbage_are_counted_and_nothing_else(nodes: list[LiveNode]) -> None:
    cost = measure("connections", nodes[0], ["connections", *nodes[0].address, "300"])
    # One line a minute for each of the handful of errors that TLS has.
    assert_cheap(cost, bytes_max=20 * MIB, lines_max=25)


def test_slow_handshakes_keep_nobody_out(nodes: list[LiveNode], tmp_path: Path) -> None:
    node = nodes[0]
    host, port = node.address
    loris = begin("loris", host, port, "200", "16")
    try:
        # Without multicast nobody dials the newcomer: it has to come in through the full door.
        more = {
            "CLUSTERSESSION_MULTICAST_ADDRESS": "", "CLUSTERSESSION_SEEDS": f"{host}:{port}",
        }
        with LiveNode("tomcat3", tmp_path, node.ports, **more).running() as newcomer:
            wait_for(lambda: "tomcat1" in newcomer.members(), "the newcomer to be let in", 10)
            assert loris.poll() is None, "the attack was over before the newcomer was in"
            assert newcomer.write() < WAIT_S_MAX
    finally:
        loris.kill()
        loris.communicate()
    wait_for(lambda: node.members() == {"tomcat2"}, "the newcomer to have left")


def test_peers_that_never_read_cost_a_window_each(nodes: list[LiveNode]) -> None:
    node = nodes[0]
    secret = {"TEST_SECRET": node.ports.secret, "TEST_CLUSTER": node.ports.name}
    for _ in range(400):
        node.write(VALUE_BYTES)
    cost = measure("mute", node, ["mute", *node.address, "4", "5"], VALUE_BYTES, **secret)
    # A window of 4 MiB, a buffer of TLS and one for what arrives, for each.
    assert_cheap(cost, bytes_max=40 * MIB, lines_max=40)
