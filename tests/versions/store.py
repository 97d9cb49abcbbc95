"""A replica on disk: written the same way every time, dumped, and made again from a dump."""

import gzip
from pathlib import Path
from typing import Any

import lmdb

from clustersession.core.feed import Batch, Cursor
from clustersession.core.serving_view import VIEW_NOTE
from clustersession.core.state import Change, Creation, Delta, Register, SessionState
from clustersession.replica.opening import LmdbReplica, open_lmdb
from clustersession.session.token import IdSigner
from tests.versions.describing import describe
from tests.versions.samples import NODE_A, NODE_B, SECRETS, VIEWS, WALL_MS

MAP_BYTES = 2**22
SKEW_MS = 300_000
BOOT = "the boot it was written in"
Dump = dict[str, list[list[str]]]


def key_of(number: int) -> str:
    """A session key as the signer makes them."""
    signer = IdSigner([SECRETS[0].encode()])
    key = signer.key_of(signer.mint(bytes([number]) * 16))
    assert key is not None
    return key


def write(directory: Path) -> None:
    """A replica with something in every table, closed cleanly."""
    replica = open_replica(directory, BOOT)
    creation = Creation(WALL_MS, WALL_MS + 86_400_000, 1_800_000)
    for number in range(12):
        sets = {"user": b"\xa3ann", "n": bytes([number])}
        change = Change(key_of(number), WALL_MS, sets, creation=creation)
        replica.commit([change], WALL_MS + number)
    later_ms = WALL_MS + 5_000
    replica.commit([Change(key_of(1), later_ms, {"n": b"\xcd\x01\x00"}, ("user",))], later_ms)
    replica.commit([Change(key_of(2), later_ms, end="invalidated")], later_ms)
    replica.commit(
        [
            Change(key_of(3), later_ms, end="rotated"),
            Change(key_of(20), later_ms, {"\x00principal": b"ann"}, creation=creation),
        ],
        later_ms,
    )
    theirs = SessionState(
        WALL_MS, later_ms, WALL_MS + 86_400_000,
        {"from": Register((WALL_MS << 16) + 9, NODE_B, 40, b"\xa1b")}, {NODE_B: 40},
    )
    batch = Batch(NODE_B, 0, 0, 40, 40, [Delta(key_of(30), theirs, True)])
    replica.apply(batch, later_ms)
    replica.inherit({b"node-ccc": Cursor(3, 8)})
    for name, value in {
        "starts": b"7", "loaded": b"no peer holds sessions", "secret": bytes(8),
        VIEW_NOTE: VIEWS["two"].encode(),
    }.items():
        replica.save_note(name, value)
    assert replica.mark_clean()


def open_replica(directory: Path, boot_id: str) -> LmdbReplica:
    """The replica of the current tree in a directory."""
    return open_lmdb(
        directory, new_node=lambda: NODE_A, map_bytes=MAP_BYTES, clock_skew_ms_max=SKEW_MS,
        boot_id=boot_id,
    )


def meaning(replica: LmdbReplica) -> dict[str, Any]:
    """What a replica holds, through its contract."""
    stats = replica.stats()
    return {
        "node": describe(replica.node),
        "head": replica.head(),
        "cursors": describe(replica.cursors()),
        "sessions": {key: describe(replica.get(key)) for key in sorted(replica.keys("", 1000))},
        "feed": describe(replica.feed(0, 0, 2**20)),
        "digests": describe(replica.digests().strip(b"\0")),
        "counts": [stats.sessions, stats.tombstones, stats.feed_entries],
        "notes": {name: describe(replica.load_note(name))
                  for name in ("starts", "loaded", "secret", VIEW_NOTE)},
    }


def dump(directory: Path) -> Dump:
    """Every key and value, table by table, in hexadecimal."""
    with lmdb.open(str(directory), max_dbs=16, readonly=True, lock=False) as environment:
        with environment.begin() as transaction:
            names = [bytes(name) for name, _ in transaction.cursor()]
        found: Dump = {}
        for name in names:
            table = environment.open_db(name, create=False)
            with environment.begin(db=table) as transaction:
                found[name.decode()] = [[k.hex(), v.hex()] for k, v in transaction.cursor()]
    return found


def restore(dumped: Dump, boot: str, directory: Path) -> None:
    """A replica's directory as an older version left it, from a dump."""
    directory.mkdir(mode=0o700)
    with lmdb.open(str(directory), max_dbs=16, map_size=MAP_BYTES) as environment:
        for name, rows in dumped.items():
            table = environment.open_db(name.encode())
            with environment.begin(db=table, write=True) as transaction:
                for key, value in rows:
                    transaction.put(bytes.fromhex(key), bytes.fromhex(value))
    (directory / "boot").write_text(boot)


def restore_file(packed: Path, boot: str, directory: Path) -> None:
    """The same from LMDB's own file."""
    directory.mkdir(mode=0o700)
    (directory / "data.mdb").write_bytes(gzip.decompress(packed.read_bytes()))
    (directory / "boot").write_text(boot)
