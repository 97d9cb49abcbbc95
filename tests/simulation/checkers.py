"""What must hold: at every moment, after mending, and at the end."""

from dataclasses import replace

from clustersession.core.identity import Phase
from clustersession.core.state import (
    ENDED_REVOKED,
    Ended,
    SessionState,
    expires_ms,
    shared,
)
from tests.simulation.claims import check_digests
from tests.simulation.host import Host
from tests.simulation.ledger import Fact, Violation
from tests.simulation.limits import check_reclaimed, was_written, without_limited
from tests.simulation.lists import index_lacks
from tests.simulation.store import SimulatedStore
from tests.simulation.timeline import WALL_START_MS
from tests.simulation.users import may_be_revoked
from tests.simulation.world import World

EVENTS_PENDING_MAX = 50_000
LATE_S_MAX = 0.5
ANY_REVOCATION = Ended(0, b"", ENDED_REVOKED)


def difference(world: World) -> str | None:
    """What still keeps the nodes from being one healthy cluster that agrees; None when nothing."""
    for host in world.hosts:
        if host.agent is None or not host.agent.alive:
            return f"{host.name} has no agent"
        engine = host.agent.engine
        if engine.context.phase not in (Phase.READY, Phase.DRAINING):
            return f"{host.name} is {engine.context.phase.name}"
        if not engine.recovery.is_over:
            return f"{host.name} recovers"
        for other in world.hosts:
            if other is host:
                continue
            member = engine.membership.get(other.replica.node)
            if member is None or member.status.value != "alive" or not member.linked:
                return f"{host.name} does not see {other.name} alive"
        strangers = [
            member.identity.node.hex() for member in engine.membership.present()
            if member.identity.node not in {h.replica.node for h in world.hosts}
        ]
        if strangers:
            return f"{host.name} still sees {strangers}"
    return _disagreement(world)


def _disagreement(world: World) -> str | None:
    if world.store is not None:
        return _disagreement_with_store(world, world.store)
    for key in world.ledger.facts:
        copies = [_unexpired(world, _shared(host, key)) for host in world.hosts]
        if any(copy is _PERHAPS for copy in copies):
            return f"{key[:6]} is about to expire"
        if any(copy != copies[0] for copy in copies[1:]):
            return f"copies of {key[:6]} differ: " + "; ".join(
                f"{host.name} {copy}" for host, copy in zip(world.hosts, copies, strict=True)
            )
    return None


def _disagreement_with_store(world: World, store: SimulatedStore) -> str | None:
    """What a host holds, the store holds; a host need not hold what the store does."""
    for key in world.ledger.facts:
        truth = _unexpired(world, _told(world, key, store.get(key)))
        for host in world.hosts:
            copy = _unexpired(world, _shared(host, key))
            if copy is _PERHAPS or truth is _PERHAPS:
                return f"{key[:6]} is about to expire"
            if truth is None and copy is not None and copy.ended == ANY_REVOCATION:
                # Expired before its user was revoked; the record ends it wherever it is met.
                continue
            if copy is not None and copy != truth:
                return f"{host.name} has {copy} of {key[:6]}, the store {truth}"
        if not host.running.engine.context.peers:
            return f"{host.name} has no store"
    return index_lacks(store)


_PERHAPS = SessionState(0, 0, 0)


def _shared(host: Host, key: str) -> SessionState | None:
    return _told(host.world, key, host.replica.get(key))


def _told(world: World, key: str, state: SessionState | None) -> SessionState | None:
    if state is None:
        return None
    if state.ended is not None and may_be_revoked(world.ledger, key):
        # Of several ends at once each node may have met another first; over it is everywhere.
        return replace(state, ended=ANY_REVOCATION)
    return without_limited(shared(state))


def _unexpired(world: World, state: SessionState | None) -> SessionState | None:
    """A copy, None when all clocks say that it is over, _PERHAPS when they do not agree on that."""
    if state is None:
        return None
    wall_ms = WALL_START_MS + int(world.timeline.now_s * 1000)
    skew_ms = max(abs(host.clock.offset_ms()) for host in world.hosts) + 10
    left_ms = expires_ms(state) - wall_ms
    if left_ms > skew_ms:
        return state
    return None if left_ms < -skew_ms else _PERHAPS


def note_calm(world: World) -> None:
    """Tell the ledger when everything is everywhere; then the next loss is the first again."""
    if not all(host.awake for host in world.hosts) or world.network.blocked:
        return
    if difference(world) is None:
        if world.store is None:
            # With a store nobody makes up for a copy that was lost.
            world.ledger.calm()
        for key in world.ledger.access_s:
            access_s = _last_use_s(world, key, world.ledger.facts[key])
            for host in world.hosts:
                if access_s is not None and host.replica.get(key) is not None:
                    host.replica.life.last_access_s[key] = access_s


def _last_use_s(world: World, key: str, facts: list[Fact]) -> float | None:
    """When a session was last used, as far as somebody surely knows; None: nobody need."""
    ledger = world.ledger
    if not ledger.ever_lost:
        return ledger.access_s[key]
    # A later use may have been recorded in a store that was lost, and what is written again under a
    # new node id is no use.
    written_s = [fact.at_s for fact in facts if fact.surely_there]
    return min(ledger.access_s[key], max(written_s)) if written_s else None


def check_bounds(world: World) -> None:
    """Nothing grows without bound."""
    # When all hosts have something to say at once, each of the others is told a few times.
    if world.timeline.pending > max(EVENTS_PENDING_MAX, 20 * len(world.hosts) ** 2):
        raise Violation(f"{world.timeline.pending} events are pending")
    for host in world.hosts:
        host.replica.check_size()
        if host.agent is None or not host.agent.alive or not host.awake:
            continue
        engine = host.agent.engine
        if engine.context.effects:
            raise Violation(f"{host.name} has unsent output")
        waits = engine.confirmations, engine.lookup
        due_s = min(part.next_deadline() for part in waits)
        if engine.store is not None:
            due_s = min(due_s, engine.store.users.next_deadline())
        if due_s < world.timeline.now_s - LATE_S_MAX:
            raise Violation(f"{host.name} lets somebody wait for ever")


def check_end(world: World) -> None:
    """After mending: what the nodes hold against what really happened."""
    for key, facts in world.ledger.facts.items():
        for host in world.hosts:
            state = host.replica.get(key)
            if state is not None or world.store is None:
                _check_session(world, host.name, state, key, facts)
            if state is not None and state.ended is None:
                check_reclaimed(host, key, state, _slack_s(world))
        if world.store is not None:
            _check_session(world, world.store.name, world.store.get(key), key, facts)
    hosts = len(world.hosts)
    pairs = hosts if world.store is not None else hosts * (hosts - 1) // 2
    if world.network.connections > pairs:
        raise Violation(f"{world.network.connections} connections among {hosts} hosts")
    for host in world.hosts:
        peers = host.running.engine.context.peers
        if len(peers) != (1 if world.store is not None else hosts - 1):
            raise Violation(f"{host.name} has {len(peers)} peers")
        check_digests(host.replica, host.name)


def _check_session(
    world: World, name: str, state: SessionState | None, key: str, facts: list[Fact]
) -> None:
    sure = [fact for fact in facts if fact.surely_there]
    if state is None:
        if sure and _must_be_there(world, key, sure):
            raise Violation(f"{name} has lost {key[:6]}: {sure[-1]}")
        return
    if state.ended is not None:
        if any(fact.end == state.ended.reason for fact in facts):
            return
        if state.ended.reason == ENDED_REVOKED and may_be_revoked(world.ledger, key):
            world.marks["session ended by a revocation that met it"] += 1
        else:
            raise Violation(f"{name} believes that {key[:6]} has ended; nobody ended it")
        return
    if _unexpired(world, state) is None:
        return
    if any(fact.end for fact in sure):
        raise Violation(f"{key[:6]} has ended and lives on {name}")
    if world.users.must_be_over(key, _slack_s(world)):
        raise Violation(f"{key[:6]} lives on {name}, and its user was revoked after the login")
    for fact in sure:
        for word in fact.values:
            register = state.registers.get(word)
            if register is None or (register.time, register.node) < fact.stamp_of(word):
                raise Violation(f"{name} has lost {word!r} of {key[:6]}: {fact}")
    world.deeds.check(world.ledger, name, key, state)
    latest_ms = WALL_START_MS + 1000 * (world.timeline.now_s + _slack_s(world))
    for word, register in state.registers.items():
        if not was_written(world.ledger, key, word, register, latest_ms):
            raise Violation(f"{name}: {key[:6]}[{word!r}] holds what nobody wrote")


def _must_be_there(world: World, key: str, sure: list[Fact]) -> bool:
    ledger, settings = world.ledger, world.settings
    now_s, slack_s = world.timeline.now_s, _slack_s(world)
    if may_be_revoked(world.ledger, key):
        return False
    if now_s - ledger.created_s[key] >= settings.effective_anonymous_absolute_timeout_s - slack_s:
        return False
    if any(fact.end for fact in sure) or not settings.idle_timeout_s:
        return True
    last_s = _last_use_s(world, key, sure)
    assert last_s is not None
    return now_s - last_s < settings.idle_timeout_s - slack_s


def _slack_s(world: World) -> float:
    """By how much two clocks may have disagreed, at most."""
    skew_ms = max(world.skew_ms_seen, *(abs(host.clock.offset_ms()) for host in world.hosts))
    return 2 * skew_ms / 1000 + 0.1
