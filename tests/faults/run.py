"""One run of one fault: a cluster under load, the fault, healing, and the judgement."""

import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clustersession.worker.circuit_breaker import OPEN_S
from tests.faults.cluster import Cluster, FaultNode, cluster, pause
from tests.faults.history import Operation
from tests.faults.judge import Reads, Verdict, ids_of, judge, nowhere_unknown
from tests.faults.scene import Episode, Fault, Scene
from tests.faults.store import STORE
from tests.support.processes import StepFailed, wait_for

LOAD = {"browsers": 6, "pause_s": 0.04}
BUSY_LOAD = {"browsers": 12, "pause_s": 0.004}
BEFORE_S = (1.0, 2.0)
AFTER_S = 1.5
BRIEFLY = 0.5
"""What is left of both where a fault is to be brief: still some fifty writes before and after."""
DETECTED_WITHIN_S = 10.0
CERTAIN_AFTER_S = 4.0
ASKED_AGAIN_MAX = 4
JUDGED = ("lost", "resurrected", "invented", "swapped", "vanished", "disagreements", "errors")
NEVER = ("resurrected", "invented", "swapped", "errors")
CUT_OFF = ("unknown", "refused")
SHOWN_MAX = 5


@dataclass(slots=True)
class Result:
    """What one run showed. ``failures`` is empty when everything that was promised held."""

    fault: str
    seed: int
    nodes: int
    verdict: Verdict
    store: str = ""
    detected_s: list[float] = field(default_factory=list)
    recovered_s: list[float] = field(default_factory=list)
    healed_s: float = 0.0
    found_late: int = 0
    tracebacks: int = 0
    failures: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def run_fault(fault: Fault, seed: int, nodes: int, directory: Path, store: str = "") -> Result:
    """Run it on a new cluster in a directory of its own. store: its kind, in the place of peers."""
    chance = random.Random(seed)
    number = chance.randrange(nodes) + 1
    disks = {number: fault.victim_state_mib}
    with cluster(nodes, directory, disks, store=store) as running:
        return run_in(fault, seed, running, number)


def run_in(
    fault: Fault, seed: int, running: Cluster, victim: int, *, brief: bool = False
) -> Result:
    """Run it in a cluster that is up, which is healthy again afterwards unless it failed."""
    scene = Scene(running, running.nodes[victim - 1], random.Random(seed), brief)
    kind = "" if running.store is None else running.store.kind
    result = Result(fault.name, seed, len(running.nodes), Verdict(), kind)
    running.client.ask(
        "start", nodes={n.route: n.address for n in running.nodes},
        padding_bytes=fault.padding_bytes, **(BUSY_LOAD if fault.busy and not brief else LOAD),
    )
    share = BRIEFLY if brief else 1.0
    pause(share * scene.chance.uniform(*BEFORE_S))
    fault.inject(scene)
    over_s = time.time()
    _attempt(running.wait_until_settled, result)
    pause(share * AFTER_S)
    told = running.client.ask("stop")
    (scene.victim.directory.parent / "history.json").write_text(json.dumps(told))
    history = [Operation.from_json(plain) for plain in told]
    _attempt(running.wait_until_settled, result)
    if fault.converges:
        _attempt(running.wait_until_equal, result)
    result.healed_s = time.time() - over_s
    reads = _read(running, ids_of(history), result)
    result.verdict = judge(history, reads, _guests(fault, scene))
    result.failures += _failures(fault, scene, history, reads, result.verdict)
    _watch(fault, scene, result)
    result.tracebacks = sum(
        node.server_log.read_text(errors="replace").count("Traceback") for node in running.nodes
    )
    return result


def _attempt(wait: Any, result: Result) -> None:
    try:
        wait()
    except StepFailed as error:
        result.failures.append(str(error))


def _read(running: Cluster, identifiers: list[str], result: Result) -> Reads:
    found: dict[str, dict[str, dict[str, Any] | None]] = {}
    for node in running.nodes:
        try:
            answers = wait_for(
                lambda n=node: _ask(running, n, identifiers), f"{node.route} to answer", 20.0
            )
        except StepFailed as error:
            result.failures.append(str(error))
            answers = [None] * len(identifiers)
        found[node.route] = dict(zip(identifiers, answers, strict=True))
    if running.store is not None:
        _read_again(running, found, identifiers, result)
        for _ in range(ASKED_AGAIN_MAX):
            known = [i for i in identifiers if any(found[route][i] for route in found)]
            if all(found[route][i] for route in found for i in known):
                break
            # A worker whose agent was late asks it nothing for so long.
            pause(OPEN_S)
            _read_again(running, found, known, result)
    return found


def _read_again(
    running: Cluster, found: dict[str, dict[str, dict[str, Any] | None]],
    identifiers: Sequence[str], result: Result,
) -> None:
    """Ask for what was unknown: while a store owes an answer, a node knows what it holds."""
    for node in running.nodes:
        answers = found[node.route]
        unknown = [identifier for identifier in identifiers if answers[identifier] is None]
        for identifier, data in zip(unknown, _ask(running, node, unknown), strict=False):
            answers[identifier] = data
            result.found_late += data is not None


def _ask(running: Cluster, node: FaultNode, identifiers: list[str]) -> list[Any]:
    try:
        answers: list[Any] = running.client.ask(
            "read", address=node.address, identifiers=identifiers
        )
    except OSError:
        return []
    return answers


def _guests(fault: Fault, scene: Scene) -> Callable[[Operation], bool]:
    return scene.may_be_unknown if fault.guests else nowhere_unknown


def _failures(
    fault: Fault, scene: Scene, history: Sequence[Operation], reads: Reads, verdict: Verdict
) -> list[str]:
    """What must not be. At its own risk: what the victim had no part in is judged in full."""
    strict = verdict
    if fault.own_risk:
        served = {o.owner for o in history if o.node == scene.victim.route}
        left = [o for o in history if o.owner not in served]
        strict = judge(left, reads, _guests(fault, scene))
    found = []
    for name in JUDGED:
        cases = getattr(verdict if name in NEVER else strict, name)
        if name == "errors" and fault.may_fail:
            cases = [case for case in cases if f" on {scene.victim.route}:" not in case]
        if cases:
            shown = "; ".join(cases[:SHOWN_MAX])
            found.append(f"{len(cases)} {name}: {shown}")
    if strict.unstored:
        found.append(f"{strict.unstored} unstored")
    if fault.of_the_store:
        found += [f"{n} {name}" for name in CUT_OFF if (n := getattr(verdict, name))]
    return found


def _watch(fault: Fault, scene: Scene, result: Result) -> None:
    """Detection and recovery, from the survivors' logs."""
    for index, episode in enumerate(scene.episodes):
        following = scene.episodes[index + 1 : index + 2]
        until_s = following[0].began_s if following else float("inf")
        for node in scene.cluster.nodes:
            if node.route != episode.route:
                _watch_one(node.events(), episode, until_s, result)
    # One that is back sooner may be told apart from its former life without having been removed.
    lasting = [e for e in scene.episodes if e.ended_s - e.began_s > CERTAIN_AFTER_S]
    nodes = len(scene.cluster.nodes)
    expected = sum(nodes - (e.route != STORE) for e in lasting)
    if fault.of_the_store and (lost := _lost_nodes(scene)):
        result.failures.append(f"members were removed for the store's sake: {', '.join(lost)}")
    if fault.loses == "no" and result.detected_s:
        result.failures.append(f"{len(result.detected_s)} times a healthy member was removed")
    if fault.loses == "yes" and len(result.detected_s) < expected:
        result.failures.append(f"{len(result.detected_s)} of {expected} losses were noticed")
    if result.detected_s and max(result.detected_s) > DETECTED_WITHIN_S:
        result.failures.append(f"a loss was noticed after {max(result.detected_s):.1f} s")


def _lost_nodes(scene: Scene) -> list[str]:
    began_s = scene.episodes[0].began_s
    return [
        f"{event.route} by {node.route}" for node in scene.cluster.nodes for event in node.events()
        if event.what == "lost" and event.route != STORE and event.at_s >= began_s
    ]


def _watch_one(events: Sequence[Any], episode: Episode, until_s: float, result: Result) -> None:
    lost = added = None
    for event in events:
        if event.route != episode.route or not episode.began_s <= event.at_s < until_s:
            continue
        if event.what == "lost" and lost is None:
            lost = event.at_s
        if event.what == "added" and lost is not None:
            added = event.at_s
    if lost is not None:
        result.detected_s.append(lost - episode.began_s)
    if added is not None and added >= episode.ended_s:
        result.recovered_s.append(added - episode.ended_s)


def median(values: Sequence[float]) -> float:
    """The median, 0 of nothing."""
    return statistics.median(values) if values else 0.0
