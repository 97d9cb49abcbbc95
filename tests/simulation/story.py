"""Runs a plan: first anything may happen, then everything is mended and all must agree in time."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from clustersession.agent.sweeper import SWEEP_INTERVAL_S
from clustersession.core import progress
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.node import (
    anti_entropy,
    journaling,
    lookup,
    puller,
    sender,
    snapshot,
    store_reader,
    store_sender,
)
from clustersession.session import causal
from clustersession.wire import messages
from clustersession.wire.messages import decode_message
from tests.simulation import checkers, lists, power
from tests.simulation.browser import Browser, Visits
from tests.simulation.host import Host
from tests.simulation.ledger import Violation
from tests.simulation.plan import HARMLESS, Plan, Step
from tests.simulation.store import SimulatedStore
from tests.simulation.world import World

SETTLE_S_MAX = 20.0
CONVERGE_S_MAX = 60.0
LOOK_S = 0.25
CLOCK_STEP_MS_MAX = 100_000
RETRIED_MAX = 5
FALL_BACK_S = 0.002

TINY = [
    (snapshot, "PAGE_BYTES_MAX", 300),
    (sender, "BATCH_BYTES_MAX", 200),
    (sender, "DATAGRAM_FEED_BYTES_MAX", 150),
    (puller, "ANSWER_BYTES_MAX", 300),
    (anti_entropy, "BUCKETS_PER_ROUND_MAX", 4),
    (anti_entropy, "SLICE_ENTRIES", 1),
    (progress, "WINDOW_BATCHES", 2),
    (journaling, "BATCH_DELTAS_MAX", 2),
    (lookup, "SMALL_COPY_BYTES_MAX", 400),
    (store_sender, "BATCH_BYTES_MAX", 200),
    (store_reader, "KEYS_AT_ONCE", 2),
    (store_reader, "GROUPS_MAX", 1),
]


@dataclass
class Report:
    """What a run showed. ``converged_s``: how long it took after the mending."""

    trace_hash: str
    marks: dict[str, int]
    converged_s: float
    lines: list[str]


class Story:
    """One plan on its way."""

    def __init__(self, plan: Plan, *, remember: bool = False) -> None:
        self.plan = plan
        self.world = World(plan, remember=remember)
        self.visits = Visits(self.world)
        self.browsers = [Browser(f"browser{n}") for n in range(plan.browsers)]

    def run(self) -> Report:
        """Everything; raises Violation for what must not be."""
        with laboratory(tiny=self.plan.tiny, ahead=self.plan.ahead):
            self.begin()
            for step in self.plan.steps:
                self.tell(step)
            converged_s = self.mend()
            self.revisit()
            self.write_again()
            self._until_converged(CONVERGE_S_MAX)
            checkers.check_end(self.world)
            if self.world.store is not None:
                self.list_users(self.world.store)
            if "clock_skew_s_max" in self.plan.settings:
                self.outlive()
        world = self.world
        return Report(world.trace_hash, dict(world.marks), converged_s, world.lines or [])

    def begin(self) -> None:
        """Start every host and wait until they know each other."""
        for host in self.world.hosts:
            host.start()
        self._until_converged(SETTLE_S_MAX)
        self.world.settled_s = self.world.timeline.now_s

    def tell(self, step: Step) -> None:
        """One step of the plan."""
        kind, *arguments = step
        world = self.world
        if kind not in HARMLESS:
            world.disturb()
            world.say(" ".join(str(word) for word in step))
            checkers.note_calm(world)
        getattr(self, f"_{kind}")(*arguments)
        checkers.check_bounds(world)

    def mend(self) -> float:
        """Everything works again; returns how long it took until all agreed."""
        world = self.world
        world.disturb()
        world.say("everything is mended")
        world.network.heal()
        if world.store is not None:
            world.store.come_back()
            world.store.resume()
            world.store.drain()
        for host in world.hosts:
            host.clock.set(0.0)
            host.resume()
            host.fill_disk(False)
            host.mend_journal()
            host.start()
            for worker in host.workers:
                worker.moved_ms = 0
        return self._until_converged(CONVERGE_S_MAX)

    def revisit(self) -> None:
        """Each browser visits each host, with cookies it should not use any more as well."""
        for browser in self.browsers:
            thieves = [Browser("thief", cookie) for cookie in browser.retired[-RETRIED_MAX:]]
            for host in self.world.hosts:
                for visitor in [browser, *thieves]:
                    self.visits.send(visitor, host, 0, "read", "", 0.0)
        self.world.timeline.run(1.0)
        if self.visits.hanging and self.world.plan.power:
            # Who ends a user's sessions and then writes waits for a slow disk at each of both.
            self.world.timeline.run(2 * self.world.settings.ack_timeout_s)
        if self.visits.hanging:
            raise Violation(f"{self.visits.hanging} requests were never answered")

    def outlive(self) -> None:
        """The absolute timeout passes: every session is over, and in the end forgotten."""
        settings = self.world.settings
        self.world.timeline.run(settings.absolute_timeout_s + SWEEP_INTERVAL_S)
        self.revisit()
        self.world.timeline.run(settings.stamp_lead_ms_max / 1000 + 2 * SWEEP_INTERVAL_S)
        for host in self.world.hosts:
            # Records of revocations stay for as long as any session might have lived.
            keys = host.replica.keys("", 10_000)
            if kept := [key for key in keys if not key.startswith(RESERVED_PREFIX)]:
                raise Violation(f"{host.name} keeps {kept[0][:6]} for ever")
        keys = [] if self.world.store is None else self.world.store.keys()
        if kept := [key for key in keys if not key.startswith(RESERVED_PREFIX)]:
            raise Violation(f"the store keeps {kept[0][:6]} for ever")

    def write_again(self) -> None:
        """Everybody writes everywhere at once; the second time each host finds a peer to confirm.

        The first time is for peers that let somebody wait: they are trusted when they catch up.
        """
        for recovered in (False, True):
            self.world.recovered = recovered
            for number, host in enumerate(self.world.hosts):
                browser = self.browsers[number % len(self.browsers)]
                self.visits.send(browser, host, 0, "set", "x", 0.0)
            self.world.timeline.run(0.5)

    def list_users(self, store: SimulatedStore) -> None:
        """Whoever asks where a user is logged in gets the same answer; and limits hold."""
        world = self.world
        lists.check_lists(world, store)
        limit, users = world.settings.sessions_per_principal_max, lists.users_of(world)
        if not limit or not users:
            return
        for host in world.hosts * 2:
            # A browser that has no cookie logs in with another session each time.
            self.visits.send(Browser("newcomer"), host, 0, "login", users[0], 0.0)
            world.timeline.run(0.5)
            if len(live := lists.sessions_in(store, users[0])) > limit:
                raise Violation(f"{users[0]} has {len(live)} sessions, and may have {limit}")
        world.marks["limit of sessions held"] += 1

    def _until_converged(self, limit_s: float) -> float:
        world = self.world
        began_s = world.timeline.now_s
        while True:
            difference = checkers.difference(world)
            if difference is None:
                return world.timeline.now_s - began_s
            if world.timeline.now_s - began_s > limit_s:
                raise Violation(f"after {limit_s:.0f} s of peace: {difference}")
            world.timeline.run(LOOK_S)

    def _host(self, number: int) -> Host:
        return self.world.hosts[number % len(self.world.hosts)]

    def _pair(self, one: int, other: int) -> tuple[str, str] | None:
        a, b = self._host(one).name, self._host(other).name
        return (a, b) if a != b else None

    # ---- steps -----------------------------------------------------------------------------------

    def _visit(
        self, browser: int, host: int, worker: int, action: str, name: str, think_ms: float
    ) -> None:
        who = self.browsers[browser % len(self.browsers)]
        self.visits.send(who, self._host(host), worker, action, name, think_ms / 1000)

    def _wait(self, ms: float) -> None:
        self.world.timeline.run(ms / 1000)

    def _kill(self, host: int) -> None:
        if (victim := self._host(host)).up:
            watched = victim.awake
            victim.kill()
            if watched:
                self.world.expect_notice(victim, silent=False)

    def _off(self, host: int) -> None:
        if (victim := self._host(host)).up:
            watched = victim.awake
            victim.power_off()
            if watched:
                self.world.expect_notice(victim, silent=True)

    def _start(self, host: int) -> None:
        self._host(host).start()

    def _agent(self, host: int) -> None:
        self._host(host).kill_agent()

    def _worker(self, host: int, worker: int) -> None:
        self._host(host).kill_worker(worker)

    def _wipe(self, host: int) -> None:
        self._host(host).wipe()

    def _sync(self, host: int) -> None:
        self._host(host).replica.sync()

    def _fall_back(self, host: int) -> None:
        self._host(host).fall_back()
        # No machine is back within the millisecond, to use its stamps again.
        self.world.timeline.run(FALL_BACK_S)

    def _leave(self, host: int) -> None:
        if (leaver := self._host(host)).awake:
            calm = checkers.difference(self.world) is None
            leaver.leave()
            if calm:
                self.world.expect_silence(leaver)

    def _dark(self, host: int) -> None:
        victim = self._host(host)
        watched = victim.awake
        victim.lose_power()
        if watched:
            self.world.expect_notice(victim, silent=True)

    def _blackout(self) -> None:
        for host in self.world.hosts:
            host.lose_power()

    def _damage(self, host: int, place: int) -> None:
        self._host(host).damage_journal(place)

    def _slow_disk(self, host: int, ms: float) -> None:
        journal = self._host(host).journal
        assert journal is not None
        journal.sync_s = ms / 1000
        journal.sync_s_max = max(journal.sync_s_max, journal.sync_s)

    def _bad_disk(self, host: int) -> None:
        self._host(host).fail_journal()

    def _good_disk(self, host: int) -> None:
        self._host(host).mend_journal()

    def _dismiss(self, host: int, other: int) -> None:
        power.dismiss(self._host(host), self._host(other))

    def _drain(self, host: int) -> None:
        self._host(host).drain()

    def _pause(self, host: int, ms: float) -> None:
        self._host(host).pause(ms / 1000)

    def _step(self, host: int, ms: float) -> None:
        # A clock that is wrong by the lifetime of a session ends it, and that is no defect.
        settings = self.world.settings
        lifetimes_s = settings.idle_timeout_s, settings.effective_absolute_timeout_s
        bound_ms = min(CLOCK_STEP_MS_MAX, *(250 * life_s for life_s in lifetimes_s if life_s))
        self._host(host).clock.set(max(-bound_ms, min(bound_ms, ms)))
        self.world.disturb()

    def _freeze(self, host: int, worker: int, ms: float) -> None:
        workers = self._host(host).workers
        if workers:
            workers[worker % len(workers)].moved_ms = int(ms)

    def _drift(self, host: int, ppm: float) -> None:
        clock = self._host(host).clock
        clock.set(clock.offset_ms(), ppm)

    def _full(self, host: int) -> None:
        self._host(host).fill_disk(True)

    def _space(self, host: int) -> None:
        self._host(host).fill_disk(False)

    def _cut(self, one: int, other: int) -> None:
        if pair := self._pair(one, other):
            self.world.network.block(*pair)
            self.world.network.block(*reversed(pair))

    def _deafen(self, one: int, other: int) -> None:
        if pair := self._pair(one, other):
            self.world.network.block(*pair)

    def _isolate(self, host: int) -> None:
        for other in range(len(self.world.hosts)):
            self._cut(host, other)

    def _split(self, count: int) -> None:
        hosts = len(self.world.hosts)
        for one in range(count % hosts):
            for other in range(count % hosts, hosts):
                self._cut(one, other)

    def _heal(self) -> None:
        weather = self.world.network.weather
        self.world.network.heal()
        self.world.network.weather = weather

    def _reset(self, one: int, other: int) -> None:
        if pair := self._pair(one, other):
            self.world.network.reset(*pair)

    def _drop(self, one: int, other: int, count: int) -> None:
        if pair := self._pair(one, other):
            self.world.network.to_drop[pair] += count

    def _double(self, one: int, other: int, count: int) -> None:
        if pair := self._pair(one, other):
            self.world.network.to_double[pair] += count

    def _delay(self, one: int, other: int, ms: float) -> None:
        if pair := self._pair(one, other):
            self.world.network.to_delay[pair] = ms / 1000

    def _slow(self, one: int, other: int, ms: float) -> None:
        if pair := self._pair(one, other):
            self.world.network.extra_s[pair] = ms / 1000

    def _clog(self, one: int, other: int, ms: float) -> None:
        if pair := self._pair(one, other):
            until_s = self.world.timeline.now_s + ms / 1000
            self.world.network.clogged_until_s[pair] = until_s


    # ---- the store -------------------------------------------------------------------------------

    @property
    def _store(self) -> SimulatedStore:
        store = self.world.store
        assert store is not None, "the plan has no store"
        return store

    def _store_away(self) -> None:
        self._store.go_away()

    def _store_back(self) -> None:
        self._store.come_back()

    def _store_pause(self, ms: float) -> None:
        self._store.pause(ms / 1000)

    def _store_empty(self) -> None:
        self._store.empty()

    def _store_full(self, space: int) -> None:
        self._store.fill(space)

    def _store_space(self) -> None:
        self._store.drain()

    def _store_save(self) -> None:
        self._store.save()

    def _store_fall_back(self) -> None:
        self._store.fall_back()

    def _store_cut(self, host: int) -> None:
        name = self._host(host).name
        self.world.network.block(name, self._store.name)
        self.world.network.block(self._store.name, name)

    def _store_reset(self, host: int) -> None:
        self.world.network.reset(self._host(host).name, self._store.name)

    def _store_slow(self, host: int, ms: float) -> None:
        name = self._host(host).name
        for way in ((name, self._store.name), (self._store.name, name)):
            self.world.network.extra_s[way] = ms / 1000


@contextmanager
def laboratory(*, tiny: bool, ahead: bool = False) -> Iterator[None]:
    """Quiet, with every datagram decoded once for all, and batches of a few bytes if ``tiny``.

    ahead: as plans say.
    """
    changes = [
        (messages, "decode_message", lru_cache(256)(decode_message)),
        # A plan may have more requests of one browser wait at once than a process has places for;
        # those that find none are served as they are, which has tests of its own.
        (causal, "WAITING_MAX", 64),
    ]
    changes += TINY if tiny else []
    changes += [(progress, "FAR_PLACES", 0), (progress, "FAR_BYTES", 0)] if ahead else []
    before: list[Any] = [getattr(module, name) for module, name, _ in changes]
    logger = logging.getLogger("clustersession")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        for module, name, value in changes:
            setattr(module, name, value)
        yield
    finally:
        logger.setLevel(level)
        for (module, name, _), value in zip(changes, before, strict=True):
            setattr(module, name, value)


def run(plan: Plan, *, remember: bool = False) -> Report:
    """Run a plan from its beginning to its end."""
    return Story(plan, remember=remember).run()
