"""Rounds of power cuts under load, and what is to be found when the hosts are back.

What a client was told more than a second before the cut is there, and no session is back that was
ended; the time of a few syncs adds to the second, where the disk is slow. Each way of losing power
is a round; a seed names its course, but for the timing of the processes.
"""

import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.power.hosts import SETTLED_S, PoweredHost, hosts_in, joined
from tests.support.waiting import wait_until

PROMISED_S = 1.0
NOISE_S = 1.0
"""How late threads and syncs may be on a machine with other things to do."""

SYNCS = 5
"""How many of them follow each other at most: the one under way, the next one, and, where a journal
begins, its mark and twice the directory."""

SESSIONS = 40
PAUSE = threading.Event()
"""Is never set: how long power is there is part of a round."""


@dataclass
class Told:
    """What clients were told, by session: of each value when, and that it has ended."""

    values: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    tried: set[str] = field(default_factory=set)


@dataclass
class Loss:
    """What was found wrong, and the oldest change that went within what is allowed."""

    lost: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    oldest_s: float = 0.0


class Load:
    """Clients, one for each host, which go on until the power goes."""

    def __init__(self, hosts: list[PoweredHost], seed: int) -> None:
        self.told = Told()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(host, seed))
            for host in hosts
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, after_s: float = 0.0) -> None:
        self._stopping.wait(after_s)
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, host: PoweredHost, seed: int) -> None:
        chance, alike = random.Random(f"{seed} {host.route}"), random.Random(seed)
        # Each end is synced at once, and with it all that was written before.
        ends_share = alike.choice([0.1, 0.003])
        # The power may go while something is asked.
        with suppress(AssertionError, OSError, ValueError):
            number = 0
            while not self._stopping.is_set():
                number += 1
                key = f"1{seed}-{host.route}-{chance.randrange(SESSIONS)}"
                self._step(host, key, number, chance.random() < ends_share)

    def _step(self, host: PoweredHost, key: str, number: int, ends: bool) -> None:
        told = self.told
        if key in told.tried:
            key = f"{key}-{number}"
        if key in told.values and ends:
            told.tried.add(key)
            if host.say("end", key):
                told.ended.add(key)
            return
        told.asked[key] = number
        if host.say("set", key, str(number)):
            told.values.setdefault(key, []).append((time.monotonic(), number))


def judged(told: Told, cut_s: float, hosts: list[PoweredHost]) -> Loss:
    """Compare what clients were told with what a host serves now."""
    loss = Loss()
    allowed_s = PROMISED_S + NOISE_S + SYNCS * max(host.longest_sync_s for host in hosts)
    for host in hosts:
        for key, values in told.values.items():
            found = host.say("get", key)
            if key in told.ended:
                if found is not None:
                    loss.back.append(f"{key} on {host.route}")
            elif key not in told.tried:
                gone = _gone_s(values, cut_s, found)
                loss.oldest_s = max([loss.oldest_s, *gone])
                if max(gone, default=0.0) > allowed_s:
                    loss.lost.append(
                        f"{key} on {host.route}: {found} of {values[-1][1]}, "
                        f"gone {max(gone):.2f} s, {allowed_s:.2f} s with such a disk"
                    )
    return loss


def _gone_s(values: list[tuple[float, int]], cut_s: float, found: str | None) -> list[float]:
    """How long before the cut each of those values was confirmed that are not there any more."""
    there = 0 if found is None else int(found)
    return [cut_s - at_s for at_s, number in values if number > there]


def under_load(hosts: list[PoweredHost], seed: int, chance: random.Random) -> tuple[Told, float]:
    """Have clients at work until the power of all hosts goes; what they were told, and when."""
    load = Load(hosts, seed)
    PAUSE.wait(chance.uniform(1.5, 4.0))
    for host in chance.sample(hosts, len(hosts)):
        host.kill()
    cut_s = time.monotonic()
    load.stop()
    for host in hosts:
        host.tear(chance)
    return load.told, cut_s


def boot_all(hosts: list[PoweredHost], chance: random.Random) -> None:
    """Boot in any order, one at once or some time after the other."""
    for host in chance.sample(hosts, len(hosts)):
        host.boot()
        PAUSE.wait(chance.choice([0.0, 0.0, 0.5, 2.0]))


def recovered(hosts: list[PoweredHost]) -> None:
    """Wait until nothing waits, and all hold the same."""
    joined(hosts)
    for host in hosts:
        wait_until(host.is_recovered, SETTLED_S)


def all_lose_power(hosts: list[PoweredHost], seed: int, chance: random.Random) -> Loss:
    """All hosts lose their power, and come back in any order."""
    told, cut_s = under_load(hosts, seed, chance)
    boot_all(hosts, chance)
    recovered(hosts)
    return judged(told, cut_s, hosts)


def one_disk_is_lost(hosts: list[PoweredHost], seed: int, chance: random.Random) -> Loss:
    """One host comes back with an empty disk, and the operator says so."""
    told, cut_s = under_load(hosts, seed, chance)
    empty, *others = chance.sample(hosts, len(hosts))
    empty.lose_disk()
    boot_all(hosts, chance)
    joined(hosts)
    _operator_gives_up(empty, others)
    recovered(hosts)
    return judged(told, cut_s, hosts)


def two_of_three_come_back(hosts: list[PoweredHost], seed: int, chance: random.Random) -> Loss:
    """One host stays away, and the operator says so."""
    told, cut_s = under_load(hosts, seed, chance)
    away, *others = chance.sample(hosts, len(hosts))
    boot_all(others, chance)
    joined(others)
    _operator_gives_up(away, others)
    recovered(others)
    return judged(told, cut_s, others)


def one_was_away_before(hosts: list[PoweredHost], seed: int, chance: random.Random) -> Loss:
    """One host misses logouts, because its power went first; it boots first, and undoes none."""
    away, *others = chance.sample(hosts, len(hosts))
    early = Load(hosts, seed)
    early.stop(2.0)
    away.kill()
    away.tear(chance)
    for host in others:
        wait_until(partial(host.has_lost, len(others) - 1), SETTLED_S)
    for key in [*early.told.values][::2]:
        if key not in early.told.tried:
            # Where the disk is slow nobody may be told that it has ended; it has, all the same.
            early.told.tried.add(key)
            if others[0].say("end", key):
                early.told.ended.add(key)
    told, cut_s = under_load(others, seed + 1, chance)
    away.boot()
    wait_until(lambda: away.status()["phase"] == "ready", SETTLED_S)
    loss = judged(early.told, cut_s, [away])
    loss.lost.clear()
    loss.oldest_s = 0.0
    boot_all(others, chance)
    recovered(hosts)
    for part in (judged(early.told, cut_s, hosts), judged(told, cut_s, hosts)):
        loss.back += part.back
        loss.lost += part.lost
        loss.oldest_s = max(loss.oldest_s, part.oldest_s)
    return loss


def the_only_one(hosts: list[PoweredHost], seed: int, chance: random.Random) -> Loss:
    """A host without peers and without an agent loses its power, twice."""
    for part in range(2):
        told, cut_s = under_load(hosts, seed + 1000 * part, chance)
        hosts[0].boot()
        wait_until(hosts[0].is_recovered, SETTLED_S)
    return judged(told, cut_s, hosts)


def _operator_gives_up(gone: PoweredHost, others: list[PoweredHost]) -> None:
    """Have the operator say, on one host, that another one will not come back."""
    for host in others:
        wait_until(host.has_loaded_ends, SETTLED_S)
    waiting = [
        host for host in others if gone.route in host.status()["recovery"]["missing"].values()
    ]
    if waiting:
        waiting[0].do_without(gone.route)


ROUNDS: dict[str, Callable[[list[PoweredHost], int, random.Random], Loss]] = {
    "all": all_lose_power,
    "disk": one_disk_is_lost,
    "away": one_was_away_before,
    "two": two_of_three_come_back,
    "alone": the_only_one,
}


def run(name: str, seed: int, directory: Path) -> Loss:
    """Run one round on hosts that are made for it."""
    chance, alone = random.Random(f"{name} {seed}"), name == "alone"
    hosts = hosts_in(directory, 1 if alone else 3, distributable=str(not alone).lower())
    with ExitStack() as stack:
        for host in hosts:
            stack.callback(host.kill)
            host.boot()
        for host in hosts:
            host.wait_started()
        if not alone:
            joined(hosts)
        loss = ROUNDS[name](hosts, seed, chance)
        if loss.lost or loss.back:
            for host in hosts:
                print(f"{host.route}: {host.status()}", host.log(), sep="\n", flush=True)
        return loss
