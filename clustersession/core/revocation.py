"""Ends a user's sessions everywhere by one record, also those that its node never heard of.

The record of a revocation is an ordinary session under a key that no cookie can name, so that
streams, snapshots and anti-entropy carry it like any other. It has one register: its stamp is the
moment of the revocation, its value the key of the one session that was spared. Every session of the
user that got its principal before that moment counts as ended wherever the two meet, whichever came
first.

The record expires by its idle timeout, which is longer than any session may live: when it goes, no
session that it speaks of can be alive. Its deadline, which could not be moved, is never reached.
"""

from hashlib import sha256

from clustersession.core.state import (
    ENDED_REVOKED,
    IDLE_TIMEOUT,
    Change,
    Creation,
    Ended,
    Register,
    SessionState,
    encode_ms,
    login_time,
)

RESERVED_PREFIX = "."
"""No session id has it, so nothing a client sends can name a key that begins with it."""

_REVOKED = "\x00revoked"
_DEADLINE_MS = 100 * 365 * 86_400_000
TAG_BYTES = 16


def principal_tag(principal: str | bytes) -> bytes:
    """Return what stands for a user in indexes and keys; it has one size, whatever the name."""
    data = principal.encode() if isinstance(principal, str) else principal
    return sha256(b"principal\x00" + data).digest()[:TAG_BYTES]


def revocation_key(tag: bytes) -> str:
    """Return where the record of a user's revocation stands."""
    return f"{RESERVED_PREFIX}revoked.{tag.hex()}"


def tag_of_revocation(key: str) -> bytes | None:
    """Return the user whose revocation stands under a key; None for any other key."""
    if not key.startswith(RESERVED_PREFIX):
        return None
    try:
        tag = bytes.fromhex(key.rpartition(".")[2])
    except ValueError:
        return None
    # A key that only resembles ours reads like one and is not made like one.
    return tag if len(tag) == TAG_BYTES and revocation_key(tag) == key else None


def revoke(principal: str, spared_key: str, now_ms: int, kept_ms: int) -> Change:
    """Make the commit that ends a user's sessions but one; ``kept_ms``: how long any may live."""
    return Change(
        revocation_key(principal_tag(principal)), now_ms,
        {_REVOKED: spared_key.encode(), IDLE_TIMEOUT: encode_ms(kept_ms)},
        creation=Creation(now_ms, now_ms + _DEADLINE_MS, kept_ms),
    )


def revocation_in(record: SessionState | None) -> Register | None:
    """Return the register that says when a user's sessions were revoked, and which was spared."""
    return None if record is None else record.registers.get(_REVOKED)


def judged(key: str, state: SessionState, revocation: Register | None) -> SessionState:
    """Return the session as it stands under a revocation of its user.

    Every node that holds both comes to an end, so it needs no place in any feed. When a user is
    revoked or logs out twice at once, nodes may name different moments of it; nothing but what
    people are told follows from that.
    """
    if (
        revocation is None
        or state.ended is not None
        or login_time(state) > revocation.time
        or revocation.value == key.encode()
    ):
        return state
    return SessionState(
        state.created_ms, state.accessed_ms, state.deadline_ms, {}, state.versions,
        Ended(revocation.time, revocation.node, ENDED_REVOKED),
    )


__all__ = [
    "RESERVED_PREFIX", "TAG_BYTES", "judged", "principal_tag", "revocation_in", "revocation_key",
    "revoke", "tag_of_revocation",
]
