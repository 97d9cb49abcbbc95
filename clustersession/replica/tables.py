"""Lays out the keys and small values of the tables that make up a replica.

Keys sort as bytes, so every number in a key is big-endian. Sessions are kept by bucket and then by
key: anti-entropy reads the few buckets that differ, and must not walk over all sessions for that.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from struct import Struct
from struct import error as StructError
from typing import Final, NamedTuple

from clustersession.core.creation_rate import Allowance
from clustersession.core.digest import BUCKETS, bucket_of
from clustersession.core.errors import OtherVersion, ReplicaUnusable, WireError
from clustersession.core.feed import START, Cursor
from clustersession.core.state import SessionState
from clustersession.wire.records import decode_copy, decode_state, encode_state

SESSIONS: Final = 0
FEED: Final = 1
EXPIRY: Final = 2
DIGESTS: Final = 3
CURSORS: Final = 4
NOTES: Final = 5
META: Final = 6
PRINCIPALS: Final = 7
TABLE_NAMES: Final[Sequence[bytes]] = (
    b"sessions", b"feed", b"expiry", b"digests", b"cursors", b"notes", b"meta", b"principals",
)

HEAD_KEY: Final = b"head"
# The users whose sessions are being ended, in parts; there only meanwhile.
REVOKING_KEY: Final = b"revoking"
# A note: how many sessions may begin now.
ALLOWANCE_KEY: Final = b"new sessions"
# Begins the entries of the expiry index that are about attributes.
ATTRIBUTES: Final = b"\xff" * 8
TAG_BYTES: Final = 16
# Stands in the index of principals when it is complete; no user has this tag.
INDEXED_KEY: Final = bytes(TAG_BYTES)
EXPIRY_STEP_MS: Final = 5_000

# Counts every change of these tables that an older version cannot live with; not only the head's.
LAYOUT: Final = 1
# What claims to be of a later layout than this is damaged.
_LAYOUT_MAX = 31
_HEAD = Struct(">B8sQQQ")
_HEADER = Struct(">QQQ?")
_ALLOWANCE = Struct(">QQ")
_NUMBER = Struct(">Q")
_CURSORS = {form.size: form for form in (Struct(">QQ"), Struct(">QQQ"))}
_BUCKET = Struct(">H")

# These are what ``struct`` offers and no functions around it: every write passes through.
feed_key = _NUMBER.pack
"""Returns a place in the feed, of its number."""
encode_digest = _NUMBER.pack
"""Returns the stored form of one digest."""
encode_place = _NUMBER.pack
"""Returns the stored form of a place in some feed."""
encode_places = _HEADER.pack
"""Returns the beginning of a record: its places in feed, expiry index and digests, and whether the
session has ended."""

# Half the price of Head(...), on the path of each write.
_new_tuple = tuple.__new__

_BUCKET_KEYS = tuple(_BUCKET.pack(bucket) for bucket in range(BUCKETS))


class Head(NamedTuple):
    """Says who the replica is and how far it has come; every commit reads and writes it.

    ``seq`` is the head of its feed, ``highest`` the highest hybrid time issued or seen,
    ``tombstones`` how many of its sessions have ended.
    """

    node: bytes
    seq: int
    highest: int
    tombstones: int


class Record(NamedTuple):
    """Holds a session as stored: its place in feed, expiry index and digests, and its state.

    ``feed_seq`` is 0 when this node never wrote the session. ``state`` is None when its bytes do
    not decode; the places are known even then, so that a fresh copy can replace it.
    """

    feed_seq: int
    expiry_ms: int
    entry_hash: int
    ended: bool
    state: SessionState | None


def encode_allowance(allowance: Allowance) -> bytes:
    """Encode how many sessions may begin."""
    return _ALLOWANCE.pack(*allowance)


def decode_allowance(data: bytes | None) -> Allowance | None:
    """Decode how many sessions may begin; None when that was never kept."""
    if data is None or len(data) != _ALLOWANCE.size:
        return None
    return Allowance(*_ALLOWANCE.unpack(data))


def encode_head(head: tuple[bytes, int, int, int]) -> bytes:
    """Encode the head, a ``Head`` or its fields in their order."""
    return _HEAD.pack(LAYOUT, *head)


def decode_head(data: bytes) -> Head:
    """Decode the head. Raises WireError, and OtherVersion for the layout of a later version.

    Where the head stands, and that it begins with the layout, must never change.
    """
    if data and LAYOUT < data[0] <= _LAYOUT_MAX:
        raise OtherVersion(f"the replica has layout {data[0]}, this version reads {LAYOUT}")
    try:
        layout, node, seq, highest, tombstones = _HEAD.unpack(data)
    except StructError:
        raise WireError("the head of the replica does not decode") from None
    if layout != LAYOUT:
        raise WireError(f"the replica has layout {layout}; this version reads {LAYOUT}")
    return _new_tuple(Head, (node, seq, highest, tombstones))


def encode_record(
    feed_seq: int, expiry_ms: int, entry_hash: int, state: SessionState
) -> bytes:
    """Return the stored form of a session. Raises SessionTooLarge."""
    places = encode_places(feed_seq, expiry_ms, entry_hash, state.ended is not None)
    return places + encode_state(state)


def decode_places(data: bytes) -> tuple[int, int, int, bool]:
    """Return the places of a record: its fields but the state. Raises WireError."""
    try:
        return _HEADER.unpack_from(data)
    except StructError:
        raise WireError("a stored session is cut short") from None


def decode_record(data: bytes) -> Record:
    """Decode a record. Raises WireError when not even the places can be read."""
    return Record(*decode_places(data), state_of_record(data))


def state_of_record(data: bytes) -> SessionState | None:
    """Return the session of a stored record alone, or None when it does not decode."""
    try:
        return decode_state(data[_HEADER.size :])
    except WireError:
        return None


def copy_of_record(data: bytes) -> SessionState | None:
    """Read the session of a stored record that is to be sent as it is."""
    try:
        return decode_copy(data[_HEADER.size :])
    except WireError:
        return None


@lru_cache(maxsize=4096)
def session_key(key: str) -> bytes:
    """Return a session's place in the sessions table."""
    return _BUCKET_KEYS[bucket_of(key)] + key.encode()


def start_of_bucket(bucket: int) -> bytes:
    """Return where a bucket begins in the sessions table."""
    return _BUCKET.pack(bucket)


def start_after(after_key: str) -> bytes:
    """Return where the sessions after a key begin; the empty key stands before all."""
    return session_key(after_key) + b"\x00" if after_key else b""


def key_of_session(table_key: bytes) -> str:
    """Return the inverse of ``session_key``. Raises ReplicaUnusable, like all that read keys."""
    return _text(table_key[_BUCKET.size :])


def seq_of_feed(table_key: bytes) -> int:
    """Return the inverse of ``feed_key``."""
    return _number(_NUMBER, table_key)


def session_of_feed(entry: bytes) -> str:
    """Return the key of the session at a place in the feed."""
    return _text(entry)


def expiry_index_ms(expires_ms: int) -> int:
    """Return where in the expiry index a session stands: not before it expires, and in steps.

    The steps leave the entry in place when writes follow each other within seconds.
    """
    return -(-expires_ms // EXPIRY_STEP_MS) * EXPIRY_STEP_MS


def expiry_key(index_ms: int, key: str) -> bytes:
    """Return an entry of the expiry index."""
    return _NUMBER.pack(index_ms) + key.encode()


def attribute_expiry_key(index_ms: int, key: str) -> bytes:
    """Return the entry for a session of which an attribute expires, behind all other entries.

    An older version takes it for that of a session at the end of all times.
    """
    return ATTRIBUTES + b"%016x" % index_ms + key.encode()


def split_attribute_expiry(table_key: bytes) -> tuple[int, str]:
    """Return the inverse of ``attribute_expiry_key``."""
    text = _text(table_key[len(ATTRIBUTES) :])
    try:
        return int(text[:16], 16), text[16:]
    except ValueError:
        raise ReplicaUnusable("an entry of the expiry index has no time") from None


def split_expiry(table_key: bytes) -> tuple[int, str]:
    """Return the inverse of ``expiry_key``."""
    return _number(_NUMBER, table_key[: _NUMBER.size]), _text(table_key[_NUMBER.size :])


def principal_key(tag: bytes, key: str) -> bytes:
    """Return an entry of the index of principals; the tag alone stands before all its entries."""
    return tag + key.encode()


def session_of_principal(table_key: bytes) -> str:
    """Return the key of the session that an entry of the index points at."""
    return _text(table_key[TAG_BYTES:])


def encode_revoking(revoking: Mapping[bytes, str]) -> bytes:
    """Pack the tags of users whose sessions are being ended, with the last session looked at."""
    return b"".join(
        tag + bytes((len(data),)) + data
        for tag, after in revoking.items()
        for data in (after.encode(),)
    )


def decode_revoking(data: bytes | None) -> dict[bytes, str]:
    """Unpack what ``encode_revoking`` made; nothing where the row is missing."""
    revoking, place = {}, 0
    while data and place + TAG_BYTES < len(data):
        start = place + TAG_BYTES + 1
        end = start + data[start - 1]
        revoking[data[place : place + TAG_BYTES]] = _text(data[start:end])
        place = end
    return revoking


def digest_key_of(key: str) -> bytes:
    """Return the row of a session's bucket in the digests table."""
    return session_key(key)[: _BUCKET.size]


def bucket_of_digest(table_key: bytes) -> int:
    """Return which bucket a row of the digests is of."""
    bucket = _number(_BUCKET, table_key)
    if bucket >= BUCKETS:
        raise ReplicaUnusable(f"the replica has a digest of a bucket {bucket}")
    return bucket


def decode_digest(data: bytes | None) -> int:
    """Return a digest, 0 for a bucket that never had a session."""
    return 0 if data is None else int.from_bytes(data, "big")


def encode_cursor(cursor: Cursor) -> bytes:
    """Return the stored form of a cursor: two numbers, and a third in the midst of catching up."""
    numbers = cursor if cursor.scanned else cursor[:2]
    return b"".join(map(_NUMBER.pack, numbers))


def decode_cursor(data: bytes) -> Cursor:
    """Return the inverse of ``encode_cursor``.

    What does not read as a cursor is one at the start, which is never wrong: what is here already
    is merged once more.
    """
    form = _CURSORS.get(len(data))
    return START if form is None else Cursor(*form.unpack(data))


def known_key(node: bytes) -> bytes:
    """Return the note of the highest place in a node's feed of which a change came directly."""
    return b"known " + node


def decode_place(data: bytes | None) -> int:
    """Return the place in such a note, 0 for none."""
    return 0 if data is None else _number(_NUMBER, data)


def _number(form: Struct, data: bytes) -> int:
    try:
        number: int = form.unpack(data)[0]
    except StructError:
        raise ReplicaUnusable("a key of the replica is no number") from None
    return number


def _text(data: bytes) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise ReplicaUnusable("a session of the replica has a key that is none") from None
