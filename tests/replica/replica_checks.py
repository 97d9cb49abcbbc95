"""What holds of every replica at any time, recomputed from its sessions."""

from collections.abc import Callable

from clustersession.core.digest import BUCKETS, bucket_of, entry_hash
from clustersession.core.feed import START
from clustersession.core.reclaiming import NEVER_MS, next_expiry_ms
from clustersession.core.state import Change, Creation, SessionState, expires_ms, highest_time
from clustersession.replica import tables
from clustersession.replica.principals import tag_of
from clustersession.replica.replica import Replica

Open = Callable[[bytes], Replica]

NODE_A, NODE_B, NODE_C = b"node-aaa", b"node-bbb", b"node-ccc"
WALL_MS = 1_763_800_000_000
IDLE_MS = 1_800_000
LIFE_MS = 7 * 86_400_000
SKEW_MS = 300_000


def key_of(number: int) -> str:
    return f"1key{number:019d}"


def creation(
    number: int, sets: dict[str, bytes] | None = None, *, wall_ms: int = WALL_MS,
    idle_ms: int = IDLE_MS, life_ms: int = LIFE_MS,
) -> Change:
    return Change(
        key_of(number), wall_ms, sets or {},
        creation=Creation(wall_ms, wall_ms + life_ms, idle_ms),
    )


def write(number: int, *, wall_ms: int = WALL_MS, **sets: bytes) -> Change:
    return Change(key_of(number), wall_ms, sets)


def end(number: int, *, wall_ms: int = WALL_MS) -> Change:
    return Change(key_of(number), wall_ms, end="invalidated")


def sessions_of(replica: Replica) -> dict[str, SessionState]:
    return dict(replica.snapshot("", 2**40).sessions)


def check(replica: Replica) -> None:
    """Every index says what the sessions say."""
    digests = [0] * BUCKETS
    expiry: set[bytes] = set()
    tombstones = 0
    with replica._engine.read() as transaction:
        data = transaction.get(tables.META, tables.HEAD_KEY)
        assert data is not None
        head = tables.decode_head(data)
        feed = {
            tables.seq_of_feed(place): key.decode()
            for place, key in transaction.scan(tables.FEED, b"")
        }
        held = {}
        for table_key, stored in transaction.scan(tables.SESSIONS, b""):
            key = tables.key_of_session(table_key)
            record = tables.decode_record(stored)
            state = record.state
            assert state is not None
            held[key] = state
            assert record.entry_hash == entry_hash(key, state.versions)
            digests[bucket_of(key)] ^= record.entry_hash
            kept_ms = expires_ms(state) + (SKEW_MS if state.ended else 0)
            assert kept_ms <= record.expiry_ms < kept_ms + tables.EXPIRY_STEP_MS
            expiry.add(tables.expiry_key(record.expiry_ms, key))
            if (until_ms := next_expiry_ms(state)) != NEVER_MS:
                until_ms = tables.expiry_index_ms(until_ms)
                expiry.add(tables.attribute_expiry_key(until_ms, key))
            tombstones += state.ended is not None
            assert record.ended == (state.ended is not None)
            assert highest_time(state) <= head.highest
            own_seq = state.versions.get(head.node, 0)
            assert own_seq <= head.seq
            if own_seq:
                assert feed[record.feed_seq] == key
        index = {
            tables.principal_key(tag, key)
            for key, state in held.items()
            if (tag := tag_of(state)) is not None
        }
        assert {key for key, _ in transaction.scan(tables.PRINCIPALS, b"")} == index | {
            tables.INDEXED_KEY
        }
        assert {key for key, _ in transaction.scan(tables.EXPIRY, b"")} == expiry
        assert transaction.count(tables.SESSIONS) == len(held)
    assert len(set(feed.values())) == len(feed)
    assert set(feed.values()) <= set(held)
    assert all(0 < seq <= head.seq for seq in feed)
    assert replica.digests() == b"".join(digest.to_bytes(8, "big") for digest in digests)
    stats = replica.stats()
    assert (stats.sessions, stats.tombstones) == (len(held) - tombstones, tombstones)
    assert (stats.feed_entries, stats.head) == (len(feed), head.seq)


def catch_up(receiver: Replica, sender: Replica, wall_ms: int = WALL_MS) -> None:
    cursor = receiver.cursors().get(sender.node, START)
    applied = receiver.apply(sender.feed(cursor.floor, cursor.position, 2**30), wall_ms)
    assert not applied.missing
