"""What a store says of itself must be true: cursors and versions claim only what it holds."""

from clustersession.core.digest import BUCKETS, bucket_of, entry_hash
from clustersession.core.feed import Cursor
from clustersession.core.state import SessionState
from clustersession.replica.replica import Replica
from tests.simulation.ledger import Fact, Ledger, Violation

KEYS_MAX = 10_000


def check_claim(
    replica: Replica, host: str, ledger: Ledger, node: bytes, moved: tuple[Cursor, Cursor],
    latest_ms: int,
) -> None:
    """A cursor has moved: everything up to its floor is here, or is expired by the latest clock."""
    before, after = moved
    if after.floor <= before.floor or node in ledger.nodes_fallen_back:
        return
    for seq in range(before.floor + 1, after.floor + 1):
        fact = ledger.by_writer.get((node, seq))
        if fact is None or fact.expires_ms < latest_ms:
            continue
        state = replica.get(fact.key)
        if state is None or state.versions.get(node, 0) < seq:
            raise Violation(f"{host} claims {after} of {node.hex()} and lacks {fact}")


def check_versions(ledger: Ledger, host: str, key: str, state: SessionState) -> None:
    """A copy's versions name only writes that are in it: half a session never stands for it.

    One that a later write of anybody has replaced need not have been here, nor one that was lost as
    it may be, and that nobody has any more.
    """
    if state.ended is not None:
        return
    facts = ledger.facts.get(key, ())
    for fact in facts:
        node = fact.stamp[1]
        if state.versions.get(node, 0) < fact.seq or node in ledger.nodes_fallen_back:
            continue
        for name in fact.values:
            register = state.registers.get(name)
            if register is not None and (register.time, register.node) >= fact.stamp_of(name):
                continue
            stamp = fact.stamp_of(name)
            if any(name in other.values and other.stamp_of(name) > stamp for other in facts):
                continue
            if not _is_nowhere(ledger, fact, name):
                raise Violation(f"{host} has {state.versions} of {key[:6]} and lacks {fact}")


def _is_nowhere(ledger: Ledger, fact: Fact, name: str) -> bool:
    """Whether a write is gone that nobody had promised to keep, and no copy has it any more.

    Its host let it go: to the store, which then lost it, or because the session was over there,
    which somebody kept in use elsewhere. What its node writes next to the session claims it, since
    nobody remembers what was written to a session that is not here. That harms nobody. Versions say
    whether a copy is worth waiting for (``consistency="causal"``), and no copy has more.
    """
    if fact.surely_there:
        return False
    registers = [state.registers.get(name) for state in ledger.copies_of(fact.key)]
    return all(r is None or (r.time, r.node) < fact.stamp_of(name) for r in registers)


def check_digests(replica: Replica, host: str) -> None:
    """Anti-entropy compares digests: they must name what is here, and nothing else."""
    digests = [0] * BUCKETS
    for key in replica.keys("", KEYS_MAX):
        state = replica.get(key)
        if state is not None:
            digests[bucket_of(key)] ^= entry_hash(key, state.versions)
    if b"".join(digest.to_bytes(8, "big") for digest in digests) != replica.digests():
        raise Violation(f"{host}: the digests do not fit the sessions")
