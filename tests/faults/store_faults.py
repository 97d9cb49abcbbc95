"""The faults of a cluster with a store: those of a node, and those of the store itself."""

from dataclasses import replace

from tests.faults.cluster import pause
from tests.faults.faults import CUT_LONG_S, CUT_SHORT_S, DOWN_S, FAULTS, FULL_S, STOP_S
from tests.faults.scene import Fault, Scene

KILLS = 3
LOOP_KILLS, LOOP_INTERVAL_S = 10, 0.5
FLUSHES = 5
OLDER_S = 3.0
NARROW_KIB = 30


def kill_store(scene: Scene) -> None:
    """kill -9 of the store, which comes back with what it had; again and again."""
    for number in range(1 if scene.brief else KILLS):
        pause(scene.chance.uniform(0.1, 1.0))
        with scene.episode():
            scene.store.kill()
            # One of them for long enough to be noticed by everybody.
            pause(STOP_S if not number else scene.chance.uniform(*DOWN_S))
            scene.store.start()
        scene.cluster.wait_until_settled()


def kill_store_in_a_loop(scene: Scene) -> None:
    """kill -9 of the store every half second, each time it has just come back."""
    with scene.episode():
        for _ in range(LOOP_KILLS):
            scene.store.kill()
            scene.store.start()
            pause(LOOP_INTERVAL_S)


def empty_store(scene: Scene) -> None:
    """kill -9 of the store, and what it had is gone."""
    pause(2.0)
    with scene.episode():
        scene.store.kill()
        pause(scene.chance.uniform(*DOWN_S))
        scene.store.forget()
        scene.store.start()


def older_store(scene: Scene) -> None:
    """kill -9 of the store, and it comes back with a backup of some seconds ago."""
    scene.store.save()
    pause(OLDER_S)
    with scene.episode():
        scene.store.kill()
        pause(scene.chance.uniform(*DOWN_S))
        scene.store.set_back()
        scene.store.start()


def flush_store(scene: Scene) -> None:
    """FLUSHALL, again and again."""
    with scene.episode():
        for _ in range(FLUSHES):
            pause(scene.chance.uniform(0.1, 1.0))
            scene.store.flush()


def stop_store_shortly(scene: Scene) -> None:
    """SIGSTOP of the store for less than the drop time."""
    _stop(scene, CUT_SHORT_S)


def stop_store_long(scene: Scene) -> None:
    """SIGSTOP of the store for longer than the drop time."""
    _stop(scene, CUT_LONG_S)


def _stop(scene: Scene, seconds: float) -> None:
    with scene.episode():
        scene.store.stop()
        pause(seconds)
        scene.store.resume()


def cut_store(scene: Scene) -> None:
    """Pull the store's cable."""
    with scene.episode():
        scene.store.host.cut()
        pause(CUT_LONG_S)
        scene.store.host.mend()


def full_store(scene: Scene) -> None:
    """The store refuses what takes memory, then there is room again."""
    with scene.episode():
        scene.store.fill_memory()
        pause(FULL_S)
        scene.store.free_memory()


def full_disk_of_the_store(scene: Scene) -> None:
    """Not a free block for what the store appends, then room again."""
    with scene.episode():
        scene.store.fill_disk()
        pause(FULL_S)
        scene.store.free_disk()


def narrow(scene: Scene) -> None:
    """What the node and the store send each other beyond some kilobytes a second is lost."""
    store = scene.cluster.addresses(scene.victim)
    over = f"limit rate over {NARROW_KIB} kbytes/second"
    with scene.episode(scene.victim):
        scene.victim.host.drop(
            leaving=f"ip daddr {store} {over}", arriving=f"ip saddr {store} {over}"
        )
        pause(CUT_LONG_S)
        scene.victim.host.drop_nothing()


def kill_store_and_node(scene: Scene) -> None:
    """kill -9 of the store, and of a node while it is away; first the node comes back."""
    with scene.episode():
        scene.store.kill()
        pause(1.0)
        scene.victim.kill()
        pause(scene.chance.uniform(*DOWN_S))
        scene.victim.start()
        pause(1.0)
        scene.store.start()


def kill_node_and_store(scene: Scene) -> None:
    """The same, and the store comes back first: empty, with what the others hold."""
    with scene.episode():
        scene.store.kill()
        pause(1.0)
        scene.victim.kill()
        pause(scene.chance.uniform(*DOWN_S))
        scene.store.forget()
        scene.store.start()
        pause(2.0)
        scene.victim.start()


# All nodes apart is the store cut from all.
_OF_PEERS = ("all-apart-8s",)
_OTHERWISE = {
    "one-apart-8s": {"what": "a node and the store apart 8 s"},
    "one-way-out-8s": {"what": "what a node sends the store is lost 8 s"},
    "one-way-in-8s": {"what": "what the store sends a node is lost 8 s"},
    "loss-20": {"what": "20 % loss between the store and nodes 8 s"},
}

STORE_FAULTS = (
    *(replace(fault, **_OTHERWISE.get(fault.name, {}))
      for fault in FAULTS if fault.name not in _OF_PEERS),
    Fault("narrow-8s", f"{NARROW_KIB} kB/s between a node and the store 8 s", narrow,
          needs=("nft",)),
    Fault("kill-store", "kill -9 of the store, 3 times", kill_store, loses="yes",
          of_the_store=True),
    Fault("store-loop", "store killed every 500 ms, 10 times", kill_store_in_a_loop,
          of_the_store=True),
    Fault("empty-store", "kill -9 of the store, its data lost", empty_store, of_the_store=True),
    Fault("older-store", "the store is set back to a backup", older_store, of_the_store=True),
    Fault("flush-store", "FLUSHALL, 5 times", flush_store, of_the_store=True),
    Fault("stop-store-2s", "SIGSTOP of the store 2 s", stop_store_shortly, of_the_store=True),
    Fault("stop-store-8s", "SIGSTOP of the store 8 s", stop_store_long, loses="yes",
          of_the_store=True),
    Fault("cut-store-8s", "link of the store down 8 s", cut_store, loses="yes", of_the_store=True),
    Fault("full-store-5s", "no memory for the store 5 s", full_store, loses="yes",
          of_the_store=True),
    Fault("full-store-disk-5s", "no block free for the store 5 s", full_disk_of_the_store,
          loses="yes", of_the_store=True),
    Fault("store-then-node", "kill -9 of store and node", kill_store_and_node, loses="yes",
          guests=True),
    Fault("node-then-store", "the same, the store's data lost", kill_node_and_store, loses="yes",
          guests=True),
)
