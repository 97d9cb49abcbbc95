"""Large clusters: dozens of hosts start at once, link in pairs, and bear what small ones do."""

import pytest

from tests.simulation.drawing import plan_with_many
from tests.simulation.plan import Plan
from tests.simulation.story import Story, laboratory, run

HOSTS = 32
FORMED_S_MAX = 3.0
TRIED_AGAIN_S = 3.0


def formed(settings: dict[str, object]) -> Story:
    """A cluster that has started at once, and been left alone for a while."""
    story = Story(Plan(hosts=HOSTS, settings=settings))
    world = story.world
    with laboratory(tiny=False):
        for host in world.hosts:
            host.start()
        if not world.settings.multicast_address:
            seed = frozenset({world.hosts[0].running.engine.context.own.address})
            for host in world.hosts:
                host.running.engine.seeds(seed, host.clock.moment())
                host.running.pump()
        story._until_converged(FORMED_S_MAX)
        world.timeline.run(TRIED_AGAIN_S)
    return story


@pytest.mark.parametrize("multicast_address", ["239.77.83.1", ""])
def test_many_that_start_at_once_have_one_link_a_pair(multicast_address: str) -> None:
    """How many a host dials at a time, its agent checks."""
    world = formed({"multicast_address": multicast_address}).world
    assert world.network.connections == HOSTS * (HOSTS - 1) / 2
    for host in world.hosts:
        assert len(host.running.engine.context.peers) == HOSTS - 1


@pytest.mark.timeout(300)
def test_what_befalls_a_large_cluster_is_borne() -> None:
    plan = plan_with_many(16)
    assert plan.hosts == 28
    assert not plan.is_harmless
    run(plan)
