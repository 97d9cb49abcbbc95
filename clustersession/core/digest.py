"""Digests buckets of sessions for anti-entropy: the XOR of a hash of each session's version.

XOR makes a bucket's digest independent of order and cheap to maintain: a commit takes the old hash
out and puts the new one in.
"""

from collections.abc import Mapping
from hashlib import blake2b
from zlib import crc32

BUCKETS = 1024


def bucket_of(key: str) -> int:
    """Return the bucket of a session key, 0 to BUCKETS - 1."""
    return crc32(key.encode()) % BUCKETS


def entry_hash(key: str, versions: Mapping[bytes, int]) -> int:
    """Return 64 bits that name one version of one session."""
    named = key.encode()
    for node in sorted(versions) if len(versions) > 1 else versions:
        named += b"%b%d;" % (node, versions[node])
    return int.from_bytes(blake2b(named, digest_size=8).digest(), "big")


def missing_here(
    theirs: Mapping[bytes, int],
    ours: Mapping[bytes, int],
    cursors: Mapping[bytes, int],
    live: frozenset[bytes],
) -> bool:
    """Tell whether a peer's copy holds writes that our streams should have brought and have not.

    A live member's writes beyond our cursor are on their way and no concern of anti-entropy;
    everything else that the peer has and we lack was missed.
    """
    return any(
        seq > ours.get(node, 0) and (node not in live or seq <= cursors.get(node, 0))
        for node, seq in theirs.items()
    )
