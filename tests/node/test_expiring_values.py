"""What has expired goes from the store as well, told by the host that wrote it, and once."""

from clustersession.core.expiring_values import expiring
from clustersession.core.state import SessionState
from clustersession.node.store_calls import Merge
from clustersession.replica.replica import Replica
from tests.node.stored import WALL_MS, Stored, creating, elsewhere, key
from tests.node.world import equal, formed

END_MS = WALL_MS + 1000
OTP = expiring(b"123456", END_MS)


def reclaimed(node: Stored, *, spread: bool = True) -> None:
    """The agent's turn comes."""
    node.replica.reclaim(key(1), END_MS, spread=spread)
    node.engine.feed_moved(node.at())
    node.pump()


def in_store(node: Stored) -> SessionState:
    return node.store.sessions[key(1)]


def test_the_host_that_wrote_the_value_deletes_it_in_the_store() -> None:
    node = Stored().up()
    node.write(key(1), create=True, a=b"1", otp=OTP)
    assert in_store(node).registers["otp"].value == OTP
    before = len(node.asked)
    reclaimed(node)
    assert in_store(node).registers["otp"].value is None
    assert in_store(node).registers["a"].value == b"1"
    (merge,) = node.calls(Merge, before)
    assert set(merge.state.registers) == {"otp"}
    reclaimed(node)
    assert len(node.calls(Merge, before)) == 1


def test_another_host_leaves_that_to_it_and_takes_its_deletion() -> None:
    node = Stored().up()
    node.store.sessions.update(elsewhere([creating(key(1), otp=OTP)]))
    node.fetch(7, key(1))
    before = len(node.asked)
    reclaimed(node)
    assert not node.calls(Merge, before)
    own = node.replica.get(key(1))
    assert own is not None
    assert own.registers["otp"].value is None


def test_where_the_writer_is_gone_the_next_that_compares_deletes_it() -> None:
    node = Stored().up()
    node.store.sessions.update(elsewhere([creating(key(1), otp=OTP)]))
    node.fetch(7, key(1))
    reclaimed(node)
    node.down()
    node.up()
    node.wait(30.0)
    assert in_store(node).registers["otp"].value is None


def test_peers_send_nothing_and_have_nothing_to_repair() -> None:
    world = formed("abc")
    replicas: list[Replica] = [world.nodes[name].replica for name in "abc"]
    now_ms = world.at(world.nodes["a"]).wall_ms
    replicas[0].commit([creating(key(1), a=b"1", otp=expiring(b"1", now_ms))], now_ms)
    world.feed_moved("a")
    world.run_until(lambda: equal(world))
    heads = [replica.head() for replica in replicas]
    replicas[1].reclaim(key(1), now_ms, spread=False)
    assert len({replica.digests() for replica in replicas}) == 1
    world.run(20.0)
    assert [replica.head() for replica in replicas] == heads
    for replica in replicas:
        replica.reclaim(key(1), now_ms, spread=False)
    assert equal(world)
