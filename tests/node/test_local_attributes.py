"""What is marked local never leaves its node: by stream, multicast, snapshot, fetch or repair."""

from typing import Any

import pytest

from clustersession.core.state import LOCAL_PREFIX, shared
from tests.node.world import World, equal, formed, key

SECRET = "stays-on-its-node"


class Watched(World):
    """Looks at every byte that any node sends."""

    def _send(self, node: Any, receiver_id: bytes, data: bytes) -> None:
        self._look(data)
        super()._send(node, receiver_id, data)

    def _multicast(self, node: Any, data: bytes) -> None:
        self._look(data)
        super()._multicast(node, data)

    def _look(self, data: bytes) -> None:
        assert LOCAL_PREFIX.encode() not in data
        assert SECRET.encode() not in data


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.node.world.World", Watched)


@pytest.mark.parametrize("carrier", ["tcp", "multicast"])
def test_no_node_gets_to_see_them(carrier: str) -> None:
    world = formed("abc", carrier=carrier)
    local = {f"{LOCAL_PREFIX}draft": SECRET}
    world.write("a", key(1), create=True, user="ann", **local)
    world.write("b", key(2), create=True, **local)
    world.run(1.0)
    # Again, alone and with others; and on a node that has the session from elsewhere.
    world.write("a", key(1), **local)
    world.write("a", key(1), user="bob", **local)
    world.write("c", key(1), **{f"{LOCAL_PREFIX}other": SECRET})
    world.run_until(lambda: equal(world))

    # A snapshot and the repair after it: a node that begins anew.
    world.kill("b")
    world.wipe("b")
    world.start("b")
    world.run_until(lambda: world.nodes["b"].phase() == "READY" and equal(world), 60.0)

    # After a failover the session is there, and they are not.
    copies = [node.replica.get(key(1)) for node in world.nodes.values()]
    assert None not in copies
    names = [sorted(n for n in copy.registers if n[0] != "\x00") for copy in copies if copy]
    assert names == [["user"]] * 3
    held = [{n for n in copy.registers if n.startswith(LOCAL_PREFIX)} for copy in copies if copy]
    assert held == [{f"{LOCAL_PREFIX}draft"}, set(), {f"{LOCAL_PREFIX}other"}]
    assert len({repr(shared(copy)) for copy in copies if copy}) == 1


def test_a_fetch_brings_the_rest() -> None:
    world = formed("ab")
    world.partition("a", "b")
    world.write("a", key(1), create=True, user="ann", **{f"{LOCAL_PREFIX}draft": SECRET})
    world.heal()
    token = world.fetch("b", key(1))
    world.run_until(lambda: world.answer("b", token) is not None)
    world.run_until(lambda: world.nodes["b"].replica.get(key(1)) is not None)
    state = world.nodes["b"].replica.get(key(1))
    assert state is not None
    assert not [name for name in state.registers if name.startswith(LOCAL_PREFIX)]
