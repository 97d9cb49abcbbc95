"""The faults of a cluster of peers: each a name, what is done, and what is allowed."""

import shutil
from collections.abc import Callable

from tests.faults.cluster import FaultNode, pause
from tests.faults.scene import Fault, Scene

CUT_SHORT_S = 2.0
CUT_LONG_S = 8.0
STOP_S = 5.0
FULL_S = 5.0
CLOCK_S = 5.0
KILLS = 5
NODE_KILLS = 3
DOWN_S = (0.5, 5.0)
LOOP_S, LOOP_INTERVAL_S = 10.0, 0.3
DAMAGED_PAGES = 8


def kill_worker(scene: Scene) -> None:
    """kill -9 a worker, again and again."""
    for _ in range(KILLS):
        pause(scene.chance.uniform(0.1, 1.0))
        with scene.episode(scene.victim):
            scene.victim.kill_worker(scene.chance)


def kill_agent(scene: Scene) -> None:
    """kill -9 the agent, again and again."""
    for _ in range(KILLS):
        pause(scene.chance.uniform(0.5, 1.5))
        with scene.episode(scene.victim):
            scene.victim.kill_agent()


def kill_node(scene: Scene) -> None:
    """kill -9 everything of a node, of one after another; each comes back with its replica."""
    _kill_nodes(scene, lose_replica=False)


def kill_node_and_replica(scene: Scene) -> None:
    """The same, and the replica is gone too."""
    _kill_nodes(scene, lose_replica=True)


def _kill_nodes(scene: Scene, *, lose_replica: bool) -> None:
    nodes = scene.cluster.nodes
    for victim in scene.chance.sample(nodes, 1 if scene.brief else min(NODE_KILLS, len(nodes))):
        pause(scene.chance.uniform(0.1, 1.0))
        with scene.episode(victim):
            victim.kill()
            if lose_replica:
                shutil.rmtree(victim.home.replica)
            pause(1.0 if scene.brief else scene.chance.uniform(*DOWN_S))
            victim.start()
        # One node at a time: nothing is promised when two copies go at once.
        scene.cluster.wait_until_settled()


def agent_in_a_loop(scene: Scene) -> None:
    """kill -9 whatever agent there is, every 300 ms."""
    with scene.episode(scene.victim):
        for _ in range(round((4.0 if scene.brief else LOOP_S) / LOOP_INTERVAL_S)):
            scene.victim.kill_agent()
            pause(LOOP_INTERVAL_S)


def link_down_shortly(scene: Scene) -> None:
    """Pull the cable for less than the drop time."""
    _cut(scene, CUT_SHORT_S)


def link_down_long(scene: Scene) -> None:
    """Pull the cable for longer than the drop time."""
    _cut(scene, CUT_LONG_S)


def _cut(scene: Scene, seconds: float) -> None:
    with scene.episode(scene.victim):
        scene.victim.host.cut()
        pause(seconds)
        scene.victim.host.mend()


def all_apart(scene: Scene) -> None:
    """No node reaches any other, every client reaches every node."""
    with scene.episode(scene.victim):
        for node in scene.cluster.nodes:
            node.host.isolate()
        pause(CUT_LONG_S)
        for node in scene.cluster.nodes:
            node.host.isolate(False)


def one_apart(scene: Scene) -> None:
    """One node and the others do not reach each other, every client reaches every node."""
    others = scene.cluster.addresses(scene.victim)
    _filtered(scene, leaving=f"ip daddr {others}", arriving=f"ip saddr {others}")


def one_way_out(scene: Scene) -> None:
    """Nothing that the node sends reaches the others; what they send arrives."""
    _filtered(scene, leaving=f"ip daddr {scene.cluster.addresses(scene.victim)}")


def one_way_in(scene: Scene) -> None:
    """Nothing that the others send reaches the node; what it sends arrives."""
    _filtered(scene, arriving=f"ip saddr {scene.cluster.addresses(scene.victim)}")


def _filtered(scene: Scene, *, leaving: str = "", arriving: str = "") -> None:
    with scene.episode(scene.victim):
        scene.victim.host.drop(leaving=leaving, arriving=arriving)
        pause(CUT_LONG_S)
        scene.victim.host.drop_nothing()


def loss(scene: Scene) -> None:
    """Every fifth packet between any two nodes is lost."""
    with scene.episode(scene.victim):
        for node in scene.cluster.nodes:
            others = scene.cluster.addresses(node)
            node.host.drop(arriving=f"ip saddr {others} numgen random mod 100 < 20")
        pause(CUT_LONG_S)
        for node in scene.cluster.nodes:
            node.host.drop_nothing()


def stop_node(scene: Scene) -> None:
    """SIGSTOP all processes of a node."""
    _stop(scene, scene.victim.pids())


def stop_agent(scene: Scene) -> None:
    """SIGSTOP the agent alone."""
    pid = scene.victim.agent_pid()
    assert pid is not None
    _stop(scene, [pid])


def _stop(scene: Scene, pids: list[int]) -> None:
    with scene.episode(scene.victim):
        scene.victim.stop(pids)
        pause(STOP_S)
        scene.victim.resume(pids)


def hold_interpreters(scene: Scene) -> None:
    """Handlers hold the interpreter lock of workers."""
    with scene.episode(scene.victim):
        for _ in range(2):
            scene.cluster.client.ask("hold", address=scene.victim.address, seconds=STOP_S)
        pause(STOP_S + 1.0)


def full_disk(scene: Scene) -> None:
    """Not a free block for the replica, then room again."""
    with scene.episode(scene.victim):
        scene.victim.fill_disk()
        pause(FULL_S)
        scene.victim.free_disk()


def small_disk(scene: Scene) -> None:
    """A state directory of 8 MiB all the time, and the node is killed and started in it."""
    pause(4.0)
    with scene.episode(scene.victim):
        scene.victim.kill()
        scene.victim.start()
    scene.cluster.wait_until_settled()
    pause(2.0)


def overrun_disk(scene: Scene) -> None:
    """The load itself overruns 8 MiB; then room is made."""
    with scene.episode(scene.victim):
        pause(15.0)
        scene.victim.grow_disk()


def _step(scene: Scene, ahead_s: float) -> None:
    with scene.episode(scene.victim):
        scene.victim.set_clock(ahead_s)
        pause(CLOCK_S)
        scene.victim.set_clock(0.0)


def clock_30_s_ahead(scene: Scene) -> None:
    """Within ``clock_skew_s_max``."""
    _step(scene, 30.0)


def clock_30_s_behind(scene: Scene) -> None:
    """Within ``clock_skew_s_max``."""
    _step(scene, -30.0)


def clock_jumps(scene: Scene) -> None:
    """Back and forth within ``clock_skew_s_max``, several times in the life of a session."""
    with scene.episode(scene.victim):
        for _ in range(20):
            scene.victim.set_clock(scene.chance.uniform(-30.0, 30.0))
            pause(CLOCK_S / 20)
        scene.victim.set_clock(0.0)


def clock_an_hour_ahead(scene: Scene) -> None:
    """Far beyond ``clock_skew_s_max``, and beyond the idle timeout.

    What the node has written carries stamps of that hour, and so does what it writes later: the
    others refuse it until they are in that hour themselves.
    """
    _step(scene, 3600.0)


def clock_an_hour_behind(scene: Scene) -> None:
    """Far beyond ``clock_skew_s_max``, and beyond the idle timeout."""
    _step(scene, -3600.0)


def damage_while_down(scene: Scene) -> None:
    """kill -9, random bytes over pages of the replica's file, start."""
    _while_down(scene, lambda victim: victim.damage(scene.chance, DAMAGED_PAGES))


def truncate_while_down(scene: Scene) -> None:
    """kill -9, the end of the replica's file is gone, start."""
    _while_down(scene, lambda victim: victim.truncate(scene.chance.uniform(0.1, 0.9)))


def _while_down(scene: Scene, harm: Callable[[FaultNode], None]) -> None:
    with scene.episode(scene.victim):
        scene.victim.kill()
        harm(scene.victim)
        scene.victim.start()


def damage_while_running(scene: Scene) -> None:
    """Random bytes over pages of the replica's file; some time later the node is restarted."""
    _while_running(scene, lambda victim: victim.damage(scene.chance, DAMAGED_PAGES))


def truncate_while_running(scene: Scene) -> None:
    """The end of the replica's file goes; some time later the node is restarted."""
    _while_running(scene, lambda victim: victim.truncate(scene.chance.uniform(0.1, 0.9)))


def _while_running(scene: Scene, harm: Callable[[FaultNode], None]) -> None:
    with scene.episode(scene.victim):
        harm(scene.victim)
        pause(3.0)
        scene.victim.kill()
        scene.victim.start()


FAULTS = (
    Fault("kill-worker", "kill -9 of a worker, 5 times", kill_worker, loses="no", busy=True),
    Fault("kill-agent", "kill -9 of the agent, 5 times", kill_agent, busy=True),
    Fault("kill-node", "kill -9 of a whole node, 3 of them in turn", kill_node, loses="yes",
          busy=True),
    Fault("kill-node-and-replica", "the same, its replica lost", kill_node_and_replica, loses="yes",
          busy=True),
    Fault("agent-loop", "agent killed every 300 ms for 10 s", agent_in_a_loop),
    Fault("link-2s", "link down 2 s", link_down_shortly),
    Fault("link-8s", "link down 8 s", link_down_long, loses="yes"),
    Fault("all-apart-8s", "all nodes apart 8 s, clients reach all", all_apart, loses="yes"),
    Fault("one-apart-8s", "one node apart 8 s, clients reach all", one_apart, loses="yes",
          needs=("nft",)),
    Fault("one-way-out-8s", "what a node sends is lost 8 s", one_way_out, needs=("nft",)),
    Fault("one-way-in-8s", "what is sent to a node is lost 8 s", one_way_in, needs=("nft",)),
    Fault("loss-20", "20 % loss between nodes 8 s", loss, needs=("nft",)),
    Fault("stop-node-5s", "SIGSTOP of a whole node 5 s", stop_node, loses="yes"),
    Fault("stop-agent-5s", "SIGSTOP of the agent 5 s", stop_agent, loses="yes"),
    Fault("hold-gil-5s", "two handlers hold the GIL 5 s", hold_interpreters, loses="no"),
    Fault("full-disk-5s", "no block free 5 s", full_disk, loses="no", own_risk=True),
    Fault("small-disk", "8 MiB state directory, kill -9", small_disk, victim_state_mib=8),
    Fault("overrun-disk", "8 MiB overrun by the load", overrun_disk, loses="no", own_risk=True,
          victim_state_mib=8, padding_bytes=20_000),
    Fault("clock+30s", "clock of one node +30 s for 5 s", clock_30_s_ahead, loses="no"),
    Fault("clock-30s", "clock of one node -30 s for 5 s", clock_30_s_behind, loses="no"),
    Fault("clock-jumps", "clock jumps within 30 s, 20 times", clock_jumps, loses="no"),
    Fault("clock+1h", "clock of one node +1 h for 5 s", clock_an_hour_ahead, loses="no",
          own_risk=True, converges=False),
    Fault("clock-1h", "clock of one node -1 h for 5 s", clock_an_hour_behind, loses="no",
          own_risk=True),
    Fault("damage-down", "random bytes over 8 pages, node down", damage_while_down),
    Fault("truncate-down", "replica's file truncated, node down", truncate_while_down),
    Fault("damage-running", "random bytes over 8 pages, running", damage_while_running,
          may_fail=True),
    Fault("truncate-running", "replica's file truncated, running", truncate_while_running),
)
