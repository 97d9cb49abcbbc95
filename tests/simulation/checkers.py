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
from tests.simulation.timeline import WALL_START_MS
from tests.simulation.users import may_be_revoked
from tests.simulation.world import World

EVENTS_PENDING_MAX = 50_000
LATE_S_MAX = 0.5


def difference(world: World) -> str | None:
    """What still keeps the nodes from being one healthy cluster that agrees; None when nothing."""
    for host in world.hosts:
        if host.agent is None or not host.agent.alive:
            return f"{host.name} has no agent"
        engine = host.agent.engine
        if engine.context.phase not in (Phase.READY, Phase.DRAINING):
            return f"{host.name} is {engine.context.phase.name}"
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
    for key in world.ledger.facts:
        copies = [_unexpired(world, _shared(host, key)) for host in world.hosts]
        if any(copy is _PERHAPS for copy in copies):
            return f"{key[:6]} is about to expire"
        if any(copy != copies[0] for copy in copies[1:]):
            return f"copies of {key[:6]} differ: " + "; ".join(
                f"{host.name} {copy}" for host, copy in zip(world.hosts, copies, strict=True)
            )
    return None


_PERHAPS = SessionState(0, 0, 0)


def _shared(host: Host, key: str) -> SessionState | None:
    state = host.replica.get(key)
    if state is None:
        return None
    if state.ended is not None and may_be_revoked(host.world.ledger, key):
        # Of several ends at once each node may have met another first; over it is everywhere.
        return replace(state, ended=Ended(0, b"", ENDED_REVOKED))
    return shared(state)


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
        world.ledger.calm()
        for key, access_s in world.ledger.access_s.items():
            for host in world.hosts:
                if host.replica.get(key) is not None:
                    host.replica.life.last_access_s[key] = access_s


def check_bounds(world: World) -> None:
    """Nothing grows without bound."""
    if world.timeline.pending > EVENTS_PENDING_MAX:
        raise Violation(f"{world.timeline.pending} events are pending")
    for host in world.hosts:
        host.replica.check_size()
        if host.agent is None or not host.agent.alive or not host.awake:
            continue
        engine = host.agent.engine
        if engine.context.effects:
            raise Violation(f"{host.name} has unsent output")
        due_s = min(engine.confirmations.next_deadline(), engine.lookup.next_deadline())
        if due_s < world.timeline.now_s - LATE_S_MAX:
            raise Violation(f"{host.name} lets somebody wait for ever")


def check_end(world: World) -> None:
    """After mending: what the nodes hold against what really happened."""
    for key, facts in world.ledger.facts.items():
        for host in world.hosts:
            _check_session(world, host, key, facts)
    hosts = len(world.hosts)
    if world.network.connections > hosts * (hosts - 1):
        raise Violation(f"{world.network.connections} connections among {hosts} hosts")
    for host in world.hosts:
        peers = host.running.engine.context.peers
        if len(peers) != hosts - 1:
            raise Violation(f"{host.name} has {len(peers)} peers")
        check_digests(host.replica, host.name)


def _check_session(world: World, host: Host, key: str, facts: list[Fact]) -> None:
    state = host.replica.get(key)
    sure = [fact for fact in facts if fact.surely_there]
    if state is None:
        if sure and _must_be_there(world, key, sure):
            raise Violation(f"{host.name} has lost {key[:6]}: {sure[-1]}")
        return
    if state.ended is not None:
        if any(fact.end == state.ended.reason for fact in facts):
            return
        if state.ended.reason == ENDED_REVOKED and may_be_revoked(world.ledger, key):
            world.marks["session ended by a revocation that met it"] += 1
        else:
            raise Violation(f"{host.name} believes that {key[:6]} has ended; nobody ended it")
        return
    if _unexpired(world, state) is None:
        return
    if any(fact.end for fact in sure):
        raise Violation(f"{key[:6]} has ended and lives on {host.name}")
    if world.users.must_be_over(key, _slack_s(world)):
        raise Violation(f"{key[:6]} lives on {host.name}, and its user was revoked after the login")
    for fact in sure:
        for name in fact.values:
            register = state.registers.get(name)
            if register is None or (register.time, register.node) < fact.stamp:
                raise Violation(f"{host.name} has lost {name!r} of {key[:6]}: {fact}")
    for name, register in state.registers.items():
        written = world.ledger.written.get((key, name, register.time, register.node), b"")
        if written != register.value:
            raise Violation(f"{host.name}: {key[:6]}[{name!r}] holds what nobody wrote")


def _must_be_there(world: World, key: str, sure: list[Fact]) -> bool:
    ledger, settings = world.ledger, world.settings
    now_s, slack_s = world.timeline.now_s, _slack_s(world)
    if may_be_revoked(world.ledger, key):
        return False
    if now_s - ledger.created_s[key] >= settings.effective_anonymous_absolute_timeout_s - slack_s:
        return False
    if any(fact.end for fact in sure) or not settings.idle_timeout_s:
        return True
    last_s = ledger.access_s[key]
    if ledger.ever_lost:
        # A later use may have been recorded in a store that was lost, and what is written again
        # under a new node id is no use.
        last_s = min(last_s, max(fact.at_s for fact in sure))
    return now_s - last_s < settings.idle_timeout_s - slack_s


def _slack_s(world: World) -> float:
    """By how much two clocks may have disagreed, at most."""
    skew_ms = max(world.skew_ms_seen, *(abs(host.clock.offset_ms()) for host in world.hosts))
    return 2 * skew_ms / 1000 + 0.1
