"""A replica with three sessions, two of them of one user, and a record of ours."""

from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import PRINCIPAL, Change, Creation
from clustersession.replica.opening import open_memory
from clustersession.replica.store import ReplicaStore
from clustersession.wire.values import encode_value

NOW = 1_700_000_000_000
KEYS = tuple(letter * 23 for letter in "abc")
DAY_MS = 86_400_000


def filled() -> ReplicaStore:
    """Sessions of ann, bob and ann, that live for centuries."""
    replica = open_memory(b"nodenode", clock_skew_ms_max=300_000)
    creation = Creation(NOW, NOW + 100_000 * DAY_MS, 100_000 * DAY_MS)
    for key, user in zip(KEYS, (b"ann", b"bob", b"ann"), strict=True):
        sets = {PRINCIPAL: user, "cart": encode_value(["tea"])}
        replica.commit([Change(key, NOW, sets, creation=creation)], NOW)
    own = RESERVED_PREFIX + "x" * 22
    replica.commit([Change(own, NOW, {"at": encode_value(1)}, creation=creation)], NOW)
    return replica
