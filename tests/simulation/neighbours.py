"""What the hosts around one could have done for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clustersession.core.identity import Phase
from clustersession.core.revocation import principal_tag, revocation_key
from clustersession.session.lifetimes import is_live
from tests.simulation.ledger import Fact, Violation

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.world import World


def at_peace(world: World) -> bool:
    """Every host runs and is connected with every other, and nothing stands between them."""
    network, store = world.network, world.store
    if network.blocked or network.extra_s or network.clogged_until_s:
        return False
    if store is not None:
        return store.is_well and all(
            host.awake and not host.replica.disk.full and host.agent is not None
            and host.agent.alive and _hears_store(host)
            for host in world.hosts
        )
    nodes = {host.replica.node for host in world.hosts}
    return all(
        host.awake and not host.replica.disk.full and host.agent is not None and host.agent.alive
        and host.agent.engine.context.peers.keys() == nodes - {host.replica.node}
        for host in world.hosts
    )


def _hears_store(host: Host) -> bool:
    engine = host.running.engine
    return bool(engine.context.peers) and not (
        engine.store is not None and engine.store.is_silent(host.running.at())
    )


def could_tell(host: Host, key: str) -> bool:
    """Whether a neighbour has the session, not ended, by anybody's clock not expired."""
    own = host.replica.get(key)
    if own is not None and own.ended is not None:
        return False
    states = [other.replica.get(key) for other in host.world.hosts if other is not host]
    if host.world.store is not None:
        states = [host.world.store.get(key)]
    return any(
        all(is_live(state, any_host.clock.wall_ms()) for any_host in host.world.hosts)
        for state in states
    )


def know_the_end(host: Host, key: str) -> bool:
    """Whether all others know that a session ended before this host came back, and can tell it.

    Nothing else has happened since, or the host may have asked in vain and gone on without.
    """
    world, network = host.world, host.world.network
    if network.blocked or network.extra_s or network.clogged_until_s or world.plan.loss:
        return False
    if any(network.to_drop.values()) or host.began_at_disturbance != world.disturbances:
        return False
    ledger = world.ledger
    ends = [fact for fact in ledger.facts[key] if fact.end]
    for user in ledger.users[key]:
        ends += ledger.facts.get(revocation_key(principal_tag(user)), ())
    # With its host's power an end may have gone of which nobody was told.
    stays = [fact for fact in ends if fact.told or not world.plan.power]
    if host.was_full or not any(fact.at_s < host.began_s for fact in stays):
        return False
    if world.store is not None:
        state = world.store.get(key)
        return world.store.is_well and state is not None and state.ended is not None
    return all(_knows_the_end(other, key) for other in world.hosts if other is not host)


def _knows_the_end(host: Host, key: str) -> bool:
    state = host.replica.get(key)
    has_ended = state is not None and state.ended is not None
    settled = (Phase.READY, Phase.DRAINING)
    return (
        has_ended and host.awake and host.has_agent
        and host.running.engine.context.phase in settled
    )


def check_holders(host: Host, fact: Fact, peers: int) -> None:
    """A client was told that so many other hosts hold its write: so many do, or have lost it."""
    world = host.world
    latest_ms = host.clock.wall_ms() + world.settings.stamp_lead_ms_max
    if fact.expires_ms < latest_ms:
        return
    node = fact.stamp[1]
    states = [other.replica.get(fact.key) for other in world.hosts if other is not host]
    if world.store is not None:
        states = [world.store.get(fact.key)]
    holding = sum(state is not None and state.versions.get(node, 0) >= fact.seq for state in states)
    if holding + world.ledger.losses_since(fact.at_s) < peers:
        raise Violation(f"{host.name} was told that {peers} peers hold {fact}; {holding} do")
