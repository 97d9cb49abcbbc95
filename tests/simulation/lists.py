"""What the store's index says of users, against what it has; and what lists of users show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clustersession.core.state import PRINCIPAL, expires_ms, principal_of
from clustersession.node.store_calls import IndexEntry
from clustersession.replica.principals import is_users, tag_of
from tests.simulation.ledger import Violation
from tests.simulation.store import SimulatedStore
from tests.simulation.timeline import WALL_START_MS
from tests.simulation.worker import Worker

if TYPE_CHECKING:
    from tests.simulation.world import World

LISTED_S = 1.0
"""How much of its life a session must have left to be missed in a list."""


def index_lacks(store: SimulatedStore) -> str | None:
    """A session that the store has and its index does not name, or not to its end; None: none."""
    for key, state in store.held():
        tag = tag_of(state)
        if tag is None or not is_users(key, state):
            continue
        time, node, seq, _ = state.registers[PRINCIPAL]
        lasts_ms = store.index(tag).get(IndexEntry(key, (time, node, seq)))
        if lasts_ms is None:
            return f"the store's index does not name {key[:6]}"
        if lasts_ms < expires_ms(state):
            early_ms = expires_ms(state) - lasts_ms
            return f"the store's index names {key[:6]} until {early_ms} ms before its end"
    return None


def users_of(world: World) -> list[str]:
    """Everybody who ever logged in."""
    return sorted({user.decode() for users in world.ledger.users.values() for user in users})


def sessions_in(store: SimulatedStore, user: str, left_s: float = 0.0) -> set[str]:
    """The sessions of a user in the store that live for so long at least."""
    found = set()
    for key, state in store.held():
        if is_users(key, state) and principal_of(state) == user:
            now_ms = WALL_START_MS + int(store.world.timeline.now_s * 1000)
            if expires_ms(state) > now_ms + left_s * 1000:
                found.add(key)
    return found


def check_lists(world: World, store: SimulatedStore) -> None:
    """Every host lists the sessions that each user has in the cluster, and the index no other."""
    for user in users_of(world):
        for host in world.hosts:
            may, must = sessions_in(store, user), sessions_in(store, user, LISTED_S)
            listed = _listed(world, host.workers[0], user)
            if not must <= listed <= may:
                raise Violation(
                    f"{host.name} lists {len(listed)} sessions of {user}, and not {len(must)}: "
                    f"lacks {[key[:6] for key in must - listed]}, "
                    f"has {[key[:6] for key in listed - may]} too many"
                )


def _listed(world: World, worker: Worker, user: str) -> set[str]:
    node = worker.host.replica.node
    listed = _list(world, worker, user)
    if listed is None and worker.host.replica.node != node:
        # It learned from what the list brought that it had fallen back, and began again.
        listed = _list(world, worker, user)
    if listed is None:
        raise Violation(f"{worker.host.name} did not get the sessions of {user} from the store")
    return listed


def _list(world: World, worker: Worker, user: str) -> set[str] | None:
    """What the worker lists; None when its agent does not know whether that is all."""
    listed: list[set[str]] = []

    async def ask() -> set[str]:
        views = await worker.manager.sessions().asessions_of(user)
        return {view._key for view in views}

    unknown = world.marks["sessions of a user unknown"]
    worker.start(ask(), listed.append)
    world.timeline.run(LISTED_S / 2)
    if not listed:
        raise Violation(f"{worker.host.name} did not answer who {user} is")
    return None if world.marks["sessions of a user unknown"] > unknown else listed[0]
