"""What must survive a power cut, and what must never come back after one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import SessionState, expires_ms
from tests.simulation.ledger import Fact, Violation

if TYPE_CHECKING:
    from tests.simulation.host import Host

PROMISED_S = 1.0
SLACK_S = 0.1


def members_of(host: Host) -> frozenset[str]:
    """Whom a host takes for members: by its own view, and as long as it recovers, by its list."""
    engine = host.running.engine
    names = {member.identity.route for member in engine.membership.present()}
    if not engine.recovery.is_over:
        names |= host.members_at_cut
    return frozenset(names)


def acknowledged(host: Host, node: bytes, seqs: range) -> None:
    """A client was told that its writes are held: ends are on the disks of all who are there."""
    world = host.world
    for seq in seqs:
        fact = world.ledger.by_writer.get((node, seq))
        if fact is None or not _is_end(fact) or fact.store is not host.replica.life:
            continue
        keepers = {host.name, *_members_that_hold(host, fact)}
        for name in keepers:
            other = next(each for each in world.hosts if each.name == name)
            journal = other.journal
            if journal is None or not journal.works:
                continue
            if not journal.has_synced_end(fact.key):
                raise Violation(f"{name} said that {fact.key[:6]} ended, and has not synced it")
            fact.keepers = (fact.keepers or set()) | {name}
            fact.told.add(name)


def _is_end(fact: Fact) -> bool:
    return fact.end is not None or fact.key[0] == RESERVED_PREFIX


def _members_that_hold(host: Host, fact: Fact) -> set[str]:
    peers = host.running.engine.context.peers if host.has_agent else {}
    return {
        other.name for other in host.world.hosts
        if other.replica.node in peers and _holds(other.replica.get(fact.key), fact)
        and other.has_agent
        and host.replica.node in other.running.engine.context.peers
    }


def _holds(state: SessionState | None, fact: Fact) -> bool:
    return state is not None and state.versions.get(fact.stamp[1], 0) >= fact.seq


def note_cut(host: Host, waiting: dict[str, SessionState]) -> None:
    """A host lost its power: everything is in its journal but what was written just now."""
    world = host.world
    life, now_s = host.replica.life, world.timeline.now_s

    began_s, safe_s = host.watched_since_s, now_s - PROMISED_S - SLACK_S
    safe_s -= 2 * host.journal.sync_s_max if host.journal is not None else 0.0

    def survived(fact: Fact) -> bool:
        state = waiting.get(fact.key)
        return state is not None and (state.ended is not None or _holds(state, fact))

    for facts in world.ledger.facts.values():
        for fact in facts:
            if fact.expired or fact.expires_ms < host.clock.wall_ms():
                # It may have been swept, and not be in a journal that was rewritten since.
                continue
            if fact.keepers and host.name in fact.keepers and not survived(fact):
                raise Violation(f"{host.name} has lost the end of {fact.key[:6]} from its journal")
            if fact.store is life and began_s < fact.at_s < safe_s and not survived(fact):
                raise Violation(f"{host.name} has lost what it wrote long ago: {fact}")
    world.ledger.power_cut(life, survived, now_s)
    life.ended = {key for key in life.ended if key in waiting and waiting[key].ended is not None}
    life.last_access_s.clear()


def note_damage(host: Host) -> None:
    """A host's journal is damaged: what it alone held may be gone."""
    note_lost_disk(host)
    world = host.world
    assert host.journal is not None
    waiting = host.journal.waiting or {}
    world.ledger.power_cut(host.replica.life, lambda _: False, world.timeline.now_s)
    host.replica.life.ended = {
        key for key in host.replica.life.ended
        if key in waiting and waiting[key].ended is not None
    }


def note_lost_disk(host: Host) -> None:
    """What was on a host's disk does not count any more."""
    for facts in host.world.ledger.facts.values():
        for fact in facts:
            if fact.keepers is not None:
                fact.keepers.discard(host.name)


def note_dropped(host: Host, *, ends: bool = False) -> None:
    """A host has nothing to recover any more: live sessions from before are gone; ``ends`` too."""
    world, life = host.world, host.replica.life
    world.ledger.power_cut(
        life, lambda fact: (fact.end is not None and not ends) or fact not in host.facts_at_cut,
        world.timeline.now_s,
    )


def check_recovered(host: Host) -> None:
    """No session is back whose end was acknowledged at a member of the host.

    What had expired there is not back either, though somebody may have kept it in use elsewhere who
    had not heard what was written here. Where the host had dropped all who know of the end before
    it lost its power, it is in the same place as if it had not: it hears of the end when they are
    back.
    """
    world = host.world
    for key, held in host.held_at_cut.items():
        if expires_ms(held) < host.clock.wall_ms():
            world.ledger.expired(key, host.replica.life)
    required = _required_by(host)
    for key, facts in world.ledger.facts.items():
        state = host.replica.get(key)
        if state is None or state.ended is not None or key[0] == RESERVED_PREFIX:
            continue
        for fact in facts:
            knowing = fact.told & required - host.dismissed
            if fact.end and knowing:
                raise Violation(f"{host.name} revived {key[:6]}, which ended at {sorted(knowing)}")


def _required_by(host: Host) -> set[str]:
    """Itself, whom it took for members, and whom those did that have not recovered themselves."""
    found = {host.name, *host.members_at_cut}
    for _ in host.world.hosts:
        for other in host.world.hosts:
            waits = other.journal is not None and other.journal.waiting is not None
            if waits and other.name in found:
                found |= other.members_at_cut
    return found


def dismiss(host: Host, other: Host) -> None:
    """An operator says that a host will not come back: whatever it alone knows is lost with it."""
    if not host.awake or not host.has_agent or host is other:
        return
    engine = host.running.engine
    missing = engine.recovery.status(host.clock.moment()).missing
    nodes = [node for node, route in missing.items() if route == other.name]
    if nodes:
        host.world.marks["recovered by an operator's word"] += 1
        for each in host.world.hosts:
            each.dismissed.add(other.name)
        engine.dismiss(nodes, host.clock.moment())
        host.running.pump()

