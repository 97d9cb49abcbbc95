"""Draws a plan from a seed: the cluster, its settings and everything that happens to it."""

import random
from typing import Any

from tests.simulation import limits
from tests.simulation.merging import ADDING, REMOVING
from tests.simulation.plan import Plan, Step
from tests.simulation.power_drawing import SHARE, add_power_cuts

NAMES = ["x", "y", "z"]
ACTIONS = ["set", "set", "set", "nested", "read", "read", "delete", "rotate", "late", "end"]
USERS = ["login", "login", "login", "revoke", "local", "local"]
WITH_USERS = 0.5
CAUSAL = 0.2
WITH_LIMITS = 0.3
LIMITED = 0.5
WITH_COLLECTIONS = 0.3
TO_COLLECTIONS = 0.7
ADDED = 0.7
AT_ONCE = 0.4
DIRECT = 0.5
AHEAD = 0.5
WAITS_MS = [0.0, 0.3, 0.7, 1.0, 1.1, 2.0, 3.0, 10.0, 40.0, 100.0, 600.0, 2000.0, 5000.0]
DONORS_DIE = 0.04
TWINS = 0.1
NEARLY_EXPIRED = 0.3
FAULTS: dict[str, list[str]] = {
    "none": [],
    "processes": ["kill", "start", "start", "agent", "agent", "worker", "leave", "start", "drain"],
    "network": [
        "cut", "deafen", "isolate", "split", "heal", "heal", "reset", "reset", "slow", "clog",
    ],
    "datagrams": ["drop", "drop", "double", "delay", "delay", "reset"],
    "stores": ["wipe", "start", "start", "sync", "fall_back", "full", "space", "kill", "agent"],
    "clocks": ["step", "step", "drift", "pause"],
    "power": ["off", "start", "start", "pause", "isolate", "heal"],
}
STORE_FAULTS: dict[str, list[str]] = {
    "away": ["store_away", "store_back", "store_back"],
    "still": ["store_pause"],
    "network": ["store_cut", "heal", "heal", "store_reset", "store_slow"],
    "memory": ["store_empty", "store_save", "store_fall_back"],
    "space": ["store_full", "store_full", "store_space"],
}
EVICTING = 0.7
FULL_CACHES = 0.3
MANY = (24, 100)
STEPS_OF_MANY = 15


def plan_of(seed: int, *, without_power: bool = False) -> Plan:
    """The plan that a seed stands for."""
    rng = random.Random(seed)
    plan = Plan(
        hosts=rng.choice([2, 2, 3, 3, 3, 3, 4, 5]) if rng.random() < 0.99 else rng.randint(6, 16),
        browsers=rng.randint(1, 4),
        seed=seed,
        tiny=rng.random() < 0.4,
        settings=_settings(rng),
    )
    if random.Random(f"{seed}.causal").random() < CAUSAL:
        # Drawn apart, as what follows, so that all other plans stay what they were.
        plan.settings["consistency"] = "causal"
    direct = random.Random(f"{seed}.direct")
    plan.direct = direct.random() < DIRECT
    plan.indirect = direct.choice(["", "", "", "a", "b"])
    plan.ahead = random.Random(f"{seed}.ahead").random() < AHEAD
    if "absolute_timeout_s" in plan.settings and random.Random(f"{seed}.short").random() < 0.5:
        plan.settings["anonymous_absolute_timeout_s"] = 6.0
    if rng.random() < WITH_USERS:
        actions = ACTIONS + USERS
        if rng.random() < 0.3:
            plan.settings["sessions_per_principal_max"] = rng.choice([1, 2])
    else:
        actions = ACTIONS
    kinds = [kind for kind in FAULTS if rng.random() < 0.4]
    if kinds and kinds != ["none"] and rng.random() < 0.4:
        plan.loss = rng.choice([0.0, 0.02, 0.2, 0.5])
        plan.duplication = rng.choice([0.0, 0.05, 0.5])
        plan.jitter_s = rng.choice([0.0, 0.002, 0.02])
    faults = [fault for kind in kinds for fault in FAULTS[kind]]
    fault_share = rng.choice([0.1, 0.25, 0.4]) if faults else 0.0
    wait_share = rng.choice([0.2, 0.35])
    for _ in range(rng.randint(5, 45)):
        draw = rng.random()
        if draw < fault_share:
            plan.steps.append(_fault(rng, rng.choice(faults), plan.hosts))
        elif draw < fault_share + wait_share:
            plan.steps.append(["wait", _wait_ms(rng, plan)])
        else:
            plan.steps.append(visit := _visit(rng, plan, actions))
            if rng.random() < TWINS:
                # Two tabs at once, and a balancer that does not keep them together.
                plan.steps.append([*visit[:2], rng.randrange(plan.hosts), *visit[3:]])
    if plan.hosts > 2 and rng.random() < DONORS_DIE:
        plan.tiny = True
        plan.steps += _join_without_donor(rng, plan)
    collections = random.Random(f"{seed}.collections")
    if collections.random() < WITH_COLLECTIONS:
        _use_collections(plan, collections)
    limited = random.Random(f"{seed}.limits")
    if limited.random() < WITH_LIMITS:
        _use_limits(plan, limited)
    power = random.Random(f"{seed}.power")
    if power.random() < SHARE and not without_power:
        add_power_cuts(plan, power)
    return plan


def _use_limits(plan: Plan, rng: random.Random) -> None:
    """Have requests that read or write attributes use some that expire, or compare and set."""
    for step in plan.steps:
        if step[0] == "visit" and step[4] in ("read", "set", "nested") and rng.random() < LIMITED:
            step[4:6] = rng.choice(limits.ACTIONS), rng.choice(NAMES)


def _use_collections(plan: Plan, rng: random.Random) -> None:
    """Have requests that read or write attributes use collections that merge, some at once."""
    steps = plan.steps[:]
    plan.steps.clear()
    for step in steps:
        plan.steps.append(step)
        if step[0] != "visit" or step[4] not in ("read", "set", "nested", "delete"):
            continue
        if rng.random() < TO_COLLECTIONS:
            _use_collection(step, rng)
            while rng.random() < AT_ONCE:
                host, worker = rng.randrange(plan.hosts), rng.randrange(2)
                plan.steps.append(other := [*step[:2], host, worker, *step[4:]])
                _use_collection(other, rng)


def _use_collection(step: Step, rng: random.Random) -> None:
    actions = ADDING if rng.random() < ADDED else REMOVING
    step[4:] = rng.choice(actions), rng.choice(NAMES), rng.choice([0.0, 0.0, 0.0, 5.0, 100.0])


def plan_with_many(seed: int) -> Plan:
    """The plan of a seed with a large cluster, to which the first of the same things happen."""
    plan, rng = plan_of(seed, without_power=True), random.Random(f"{seed}.many")
    plan.hosts, plan.tiny = rng.randint(*MANY), False
    plan.steps = plan.steps[:STEPS_OF_MANY]
    return plan


def plan_with_power(seed: int) -> Plan:
    """The plan of a seed with journals and power cuts in any case."""
    plan = plan_of(seed, without_power=True)
    add_power_cuts(plan, random.Random(f"{seed}.power"))
    return plan


def plan_with_store(seed: int) -> Plan:
    """The plan of a seed with a store in the place of links, to which things happen as well."""
    plan, rng = plan_of(seed, without_power=True), random.Random(f"{seed}.store")
    plan.store, plan.loss, plan.duplication = True, 0.0, 0.0
    plan.jitter_s = rng.choice([0.0, 0.0, 0.003, 0.03])
    plan.steps = [other for step in plan.steps for other in _with_store(step)]
    if rng.random() < EVICTING and "idle_timeout_s" in plan.settings:
        plan.settings["near_cache_idle_s"] = rng.choice([0.5, 1.0, 3.0])
    bounds = random.Random(f"{seed}.bound")
    if bounds.random() < FULL_CACHES:
        plan.settings.setdefault("near_cache_idle_s", 3.0)
        plan.settings["near_cache_bytes_max"] = bounds.choice([2**20, 2**23, 2**25])
    kinds = [kind for kind in STORE_FAULTS if rng.random() < 0.35]
    faults = [fault for kind in kinds for fault in STORE_FAULTS[kind]]
    for _ in range(rng.randint(1, 8) if faults else 0):
        place = rng.randint(0, len(plan.steps))
        plan.steps.insert(place, _store_fault(rng, rng.choice(faults), plan.hosts))
    return plan


def _with_store(step: Step) -> list[Step]:
    """What a step becomes where hosts are not linked."""
    match step:
        case ["cut" | "deafen", one, _] | ["isolate", one]:
            return [["store_cut", one]]
        case ["split", count]:
            return [["store_cut", host] for host in range(count)]
        case ["reset", one, _]:
            return [["store_reset", one]]
        case ["delay" | "slow" | "clog", one, _, ms]:
            return [["store_slow", one, ms]]
        case ["drop" | "double", *_]:
            return []
        case _:
            return [step]


def _store_fault(rng: random.Random, kind: str, hosts: int) -> Step:
    match kind:
        case "store_pause":
            return [kind, rng.choice([1.0, 100.0, 400.0, 3000.0, 8000.0])]
        case "store_full":
            return [kind, rng.choice([0, 0, 100, 400])]
        case "store_cut" | "store_reset":
            return [kind, rng.randrange(hosts)]
        case "store_slow":
            return [kind, rng.randrange(hosts), rng.choice([1.0, 30.0, 200.0, 400.0])]
        case _:
            return [kind]


def _join_without_donor(rng: random.Random, plan: Plan) -> list[Step]:
    """A host loads page by page over slow links, and one that may be its donor dies meanwhile."""
    newcomer, victim, *_ = rng.sample(range(plan.hosts), plan.hosts)
    others = [host for host in range(plan.hosts) if host != newcomer]
    return [
        ["heal"],
        *(["start", host] for host in range(plan.hosts)),
        *(["visit", browser, victim, 0, "set", name, 0.0]
          for browser in range(plan.browsers) for name in NAMES[:2]),
        ["wait", 1500.0],
        ["wipe", newcomer],
        *(["slow", other, newcomer, 100.0] for other in others),
        ["start", newcomer],
        ["wait", rng.choice([250.0, 300.0, 350.0, 450.0])],
        ["kill", victim],
        ["wait", 2000.0],
    ]


def _settings(rng: random.Random) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "carrier": rng.choice(["auto", "multicast", "tcp"]),
        "ack": rng.choice(["one", "one", "one", "all", "none"]),
        "rewrite": rng.choice(["failover", "failover", "always", "never"]),
    }
    if rng.random() < 0.3:
        settings["heartbeat_interval_s"] = 0.2
        settings["drop_time_s"] = 1.2
    if rng.random() < 0.15:
        settings["idle_timeout_s"] = rng.choice([4.0, 10.0])
    if rng.random() < 0.07:
        settings["absolute_timeout_s"] = rng.choice([10.0, 20.0])
        settings.setdefault("idle_timeout_s", 5.0)
        # So that tombstones, which outlast clocks that lag, are collected in the time of a plan.
        settings["clock_skew_s_max"] = 5.0
    return settings


def _wait_ms(rng: random.Random, plan: Plan) -> float:
    idle_ms: float = 1000 * plan.settings.get("idle_timeout_s", 0.0)
    if idle_ms and rng.random() < NEARLY_EXPIRED:
        return idle_ms * rng.choice([0.03, 0.5, 0.95, 0.98, 1.01])
    return rng.choice(WAITS_MS)


def _visit(rng: random.Random, plan: Plan, actions: list[str]) -> Step:
    think_ms = rng.choice([0.0, 0.0, 0.0, 0.0, 5.0, 300.0])
    visit: Step = [
        "visit", rng.randrange(plan.browsers), rng.randrange(plan.hosts), rng.randrange(2),
        rng.choice(actions), rng.choice(NAMES), think_ms,
    ]
    idle_s = plan.settings.get("idle_timeout_s")
    if idle_s and think_ms and visit[4] == "read":
        visit[4], visit[6] = "download", 2200 * idle_s
    return visit


def _fault(rng: random.Random, kind: str, hosts: int) -> Step:
    one, other = rng.randrange(hosts), rng.randrange(hosts)
    match kind:
        case "worker":
            return [kind, one, rng.randrange(2)]
        case "pause":
            return [kind, one, rng.choice([100.0, 1500.0, 6000.0])]
        case "step":
            return [kind, one, rng.choice([-60_000.0, -1500.0, -5.0, 0.0, 3.0, 2500.0, 60_000.0])]
        case "drift":
            return [kind, one, rng.choice([-20_000.0, 500.0, 20_000.0])]
        case "cut" | "deafen" | "reset":
            return [kind, one, other]
        case "split":
            return [kind, rng.randint(1, hosts - 1)]
        case "heal":
            return [kind]
        case "drop" | "double":
            return [kind, one, other, rng.randint(1, 4)]
        case "delay" | "slow" | "clog":
            return [kind, one, other, rng.choice([1.0, 30.0, 400.0, 3000.0])]
        case _:
            return [kind, one]
