"""Adds power cuts to a drawn plan: of one host or all, in any order, with journals that suffer."""

import random

from tests.simulation.plan import Plan, Step

SHARE = 0.25
GAPS_MS = [0.0, 0.2, 1.0, 50.0, 400.0, 1500.0, 4000.0]
FAULTS = [
    "dark", "dark", "start", "start", "start", "blackout", "slow_disk", "bad_disk", "good_disk",
    "damage", "dismiss", "isolate", "heal",
]
LAST_ACTIONS = ["end", "end", "end", "rotate", "revoke", "set", "login", "read"]
EPISODES = 0.75


def add_power_cuts(plan: Plan, rng: random.Random) -> None:
    """Give the hosts journals, and take their power now and then."""
    plan.power = True
    plan.steps = [other for step in plan.steps for other in _with_journal(step)]
    for _ in range(rng.choice([0, 0, 2, 6])):
        plan.steps.insert(rng.randint(0, len(plan.steps)), _fault(rng, plan.hosts))
    if rng.random() < EPISODES:
        for _ in range(rng.choice([1, 1, 2])):
            plan.steps += _episode(rng, plan)


def _with_journal(step: Step) -> list[Step]:
    """What a step becomes where a power cut takes the whole replica."""
    match step:
        case ["off" | "fall_back", host]:
            return [["dark", host]]
        case ["sync", _]:
            return []
        case _:
            return [step]


def _fault(rng: random.Random, hosts: int) -> Step:
    one, other, kind = rng.randrange(hosts), rng.randrange(hosts), rng.choice(FAULTS)
    match kind:
        case "blackout" | "heal":
            return [kind]
        case "slow_disk":
            return [kind, one, rng.choice([0.1, 10.0, 150.0, 900.0, 3000.0])]
        case "damage":
            return [kind, one, rng.randrange(100)]
        case "dismiss":
            return [kind, one, other]
        case _:
            return [kind, one]


def _episode(rng: random.Random, plan: Plan) -> list[Step]:
    """Somebody is away, people log out, the power goes, hosts come back one by one."""
    steps: list[Step] = []
    if rng.random() < 0.5:
        steps += [["heal"], *(["start", host] for host in range(plan.hosts)), ["wait", 3000.0]]
    steps += _visits(rng, plan, ["set", "login"], 2)
    if rng.random() < 0.6:
        away = rng.randrange(plan.hosts)
        steps += [[rng.choice(["dark", "dark", "kill", "isolate", "leave"]), away], _wait(rng)]
    steps += [*_visits(rng, plan, LAST_ACTIONS, 4), _wait(rng)]
    hosts = list(range(plan.hosts))
    if rng.random() < 0.5:
        steps.append(["blackout"])
    else:
        rng.shuffle(hosts)
        for host in hosts:
            steps += [["dark", host], _wait(rng), *_visits(rng, plan, LAST_ACTIONS, 1)]
    if rng.random() < 0.25:
        steps.append([rng.choice(["wipe", "damage"]), rng.randrange(plan.hosts), 7][:3])
    steps = [step[:2] if step[0] == "wipe" else step for step in steps]
    if rng.random() < 0.7:
        steps.append(["heal"])
    rng.shuffle(hosts)
    for host in hosts[: rng.randint(1, plan.hosts)]:
        steps += [["start", host], _wait(rng), *_visits(rng, plan, LAST_ACTIONS, 1)]
        if rng.random() < 0.1:
            steps.append(_fault(rng, plan.hosts))
    return steps


def _wait(rng: random.Random) -> Step:
    return ["wait", rng.choice(GAPS_MS)]


def _visits(rng: random.Random, plan: Plan, actions: list[str], count_max: int) -> list[Step]:
    return [
        ["visit", rng.randrange(plan.browsers), rng.randrange(plan.hosts), rng.randrange(2),
         rng.choice(actions), rng.choice(["x", "y", "z"]), 0.0]
        for _ in range(rng.randint(0, count_max))
    ]
