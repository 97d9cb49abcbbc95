"""When a node with a store is ready."""

from clustersession.core.identity import Phase
from clustersession.node.news import BecameReady
from tests.node.stored import Stored, key


def ready(node: Stored) -> str | None:
    return next((told.how for told in node.told if isinstance(told, BecameReady)), None)


def test_it_is_ready_when_all_that_it_holds_was_compared() -> None:
    node = Stored()
    for number in range(200):
        node.write(key(number), create=True, x=b"1")
    node.slow = True
    node.up()
    node.wait(0.5)
    assert node.engine.context.phase is Phase.JOINING
    node.slow = False
    node.answer()
    node.pump()
    node.wait(0.1)
    assert ready(node) == "caught up with the store"


def test_a_store_that_is_away_delays_it_for_a_bounded_time() -> None:
    node = Stored()
    node.wait(1.9)
    assert ready(node) is None
    node.wait(0.2)
    assert ready(node) == "the store is away; with what its replica holds"


def test_a_store_that_hangs_delays_it_for_a_bounded_time() -> None:
    node = Stored()
    node.write(key(1), create=True, x=b"1")
    node.up()
    node.slow = True
    node.down()
    node.up()
    node.answer()
    node.wait(5.1)
    assert node.engine.context.phase is Phase.READY


def test_a_drain_that_was_asked_for_meanwhile_follows() -> None:
    node = Stored()
    node.engine.drain(node.at())
    node.up()
    node.wait(0.2)
    assert node.engine.context.phase is Phase.DRAINING
