"""What is special about tables in memory; all else is the contract."""

from clustersession.replica.engines.memory import MemoryEngine
from clustersession.replica.tables import SESSIONS


def test_nothing_bounds_it_so_the_reserve_is_of_no_concern() -> None:
    engine = MemoryEngine()
    with engine.write(leaving=1.0) as transaction:
        transaction.put(SESSIONS, b"key", b"value")
    assert (engine.bytes_used(), engine.bytes_max()) == (8, 0)


def test_two_engines_share_nothing() -> None:
    one, two = MemoryEngine(), MemoryEngine()
    with one.write() as transaction:
        transaction.put(SESSIONS, b"key", b"value")
    assert two.get(SESSIONS, b"key") is None
