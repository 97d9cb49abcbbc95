"""One host: a store, an agent, several workers, a wall clock, and what can happen to them."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from clustersession.core.errors import ReplicaError, ReplicaFull
from clustersession.core.state import SessionState
from clustersession.worker.host_clock import HostClock
from tests.simulation import power
from tests.simulation.agent import Agent
from tests.simulation.journal import SimulatedJournal
from tests.simulation.ledger import Fact, Store
from tests.simulation.neighbours import at_peace
from tests.simulation.timeline import Action, WallClock
from tests.simulation.watched_replica import WatchedReplica
from tests.simulation.worker import Worker

if TYPE_CHECKING:
    from tests.simulation.world import World

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORKERS = 2
AGENT_RESTART_S = 0.3
WORKER_RESTART_S = 0.5


def name_of(number: int) -> str:
    """The name of a host by its place: a to z, then a1 to z1, and so on."""
    rounds, letter = divmod(number, len(LETTERS))
    return LETTERS[letter] + str(rounds or "")


class Host:
    """A station of the network and everything on it."""

    def __init__(self, world: World, name: str, number: int) -> None:
        self.world = world
        self.name = name
        self.ip = f"10.0.0.{number}"
        self.dark = False
        self.clock = WallClock(world.timeline)
        self.up = False
        self.agent: Agent | None = None
        self.workers: list[Worker] = []
        self.was_full = False
        self.fell_back = False
        self.began_s = 0.0
        self.began_at_disturbance = -1
        self._paused = False
        self._paused_in_peace = -1
        self._paused_s = self._woke_s = -1.0
        self._backlog: deque[Action] = deque()
        self.journal = SimulatedJournal() if world.plan.power else None
        # Whom the host took for members when its power was cut, and which nodes an operator has
        # told it to do without since.
        self.members_at_cut: frozenset[str] = frozenset()
        self.dismissed: set[str] = set()
        # What had been written there: not by when, for a host may boot and be written to at once.
        self.facts_at_cut: set[Fact] = set()
        # What its journal held then.
        self.held_at_cut: dict[str, SessionState] = {}
        # Since when what its workers write is brought to the disk in time.
        self.watched_since_s = float("inf")
        self.replica = self._new_replica()

    def _new_replica(self, life: Store | None = None) -> WatchedReplica:
        world = self.world
        replica = WatchedReplica(
            world.new_node(), world.ledger, self.name, lambda: world.timeline.now_s,
            world.settings.stamp_lead_ms_max, life,
        )
        kernel = HostClock(world.settings.stamp_lead_ms_max, self.clock.wall_ms)
        replica.check_clock(kernel.checked)
        if world.store is not None:
            replica.in_store = world.store.get
        return replica

    # ---- running ---------------------------------------------------------------------------------

    def do(self, action: Action) -> None:
        """Run now, or when the host wakes up."""
        if self._paused:
            self._backlog.append(action)
        else:
            action()

    def datagram(self, data: bytes) -> None:
        """A datagram has arrived."""
        if self.agent is not None and self.agent.alive:
            self.agent.datagram(data)

    @property
    def running(self) -> Agent:
        """The agent, which must be there."""
        assert self.agent is not None, f"{self.name} has no agent"
        return self.agent

    @property
    def has_agent(self) -> bool:
        """Whether an agent runs that workers can be attached to."""
        return self.agent is not None and self.agent.alive

    @property
    def awake(self) -> bool:
        """Up, and not standing still."""
        return self.up and not self._paused and not self.dark

    @property
    def woke_in_peace(self) -> bool:
        """Whether this very instant ends a long pause, and nothing else has happened lately."""
        world = self.world
        long_s = 5 * world.settings.heartbeat_interval_s
        return (
            self._woke_s == world.timeline.now_s > self._paused_s + long_s
            and self._paused_in_peace == world.disturbances
            and world.quiet_s > world.settings.drop_time_s
            and not world.plan.loss
        )

    def fate_of_dial(self, dialler: Host) -> str:
        """What somebody experiences who connects to us."""
        if self.world.network.unreachable(dialler.name, self.name) or self._paused:
            return "silence"
        return "answer" if self.agent is not None and self.agent.alive else "refused"

    def confirmed(self, head: int, peers: int) -> None:
        """A worker was told how many peers hold its commit."""
        self.world.confirmed(self, head, peers)

    # ---- what happens to it ----------------------------------------------------------------------

    def start(self) -> None:
        """Boot, or start the application again."""
        if self.up:
            return
        self.up = True
        if self.dark:
            self.dark = False
            self.world.network.flush()
        with suppress(ReplicaFull):
            self.replica.note_opening()
        self.workers = [Worker(self, number) for number in range(WORKERS)]
        self._start_agent()

    def _start_agent(self) -> None:
        if not self.up or (self.agent is not None and self.agent.alive):
            return
        try:
            self.agent = Agent(self)
            self.began_s = self.world.timeline.now_s
            self.began_at_disturbance = self.world.disturbances
        except ReplicaError:
            # A full disk: the workers try again.
            self.world.timeline.later(1.0, lambda: self.do(self._start_agent))

    def kill(self, *, silently: bool = False) -> None:
        """kill -9 of every process; the kernel lives and says so to the peers."""
        self.up = False
        self._paused = False
        self._backlog.clear()
        for worker in self.workers:
            worker.alive = False
        if self.agent is not None:
            self.agent.die(silently=silently)
            self.agent = None

    def power_off(self) -> None:
        """Everything stops at once and nobody is told."""
        self.dark = True
        self.kill(silently=True)

    def lose_power(self) -> None:
        """Everything stops, and all is lost that is not on the disk: of the replica, all."""
        journal, world = self.journal, self.world
        assert journal is not None
        self.watched_since_s = float("inf")
        if self.agent is not None and self.agent.alive:
            self.members_at_cut = power.members_of(self)
            if self.awake and journal.works:
                self.watched_since_s = max(self.began_s, self._woke_s, journal.worked_since_s)
        self.power_off()
        self.facts_at_cut = world.ledger.facts_of(self.replica.life)
        self.dismissed = set()
        journal.lose_power(world.random_int(journal.unsynced + 1))
        self.was_full = False
        if journal.waiting is None:
            world.ledger.lose(self.replica.life, world.timeline.now_s)
            self.replica = self._new_replica()
        else:
            self.held_at_cut = dict(journal.waiting)
            power.note_cut(self, journal.waiting)
            self.replica = self._new_replica(self.replica.life)

    def damage_journal(self, place: int) -> None:
        """A part of the journal cannot be read any more, as is found when the host boots."""
        journal = self.journal
        if self.up or journal is None or journal.waiting is None:
            return
        if journal.damage(place):
            power.note_damage(self)

    def fail_journal(self) -> None:
        """The disk under the journal takes no more."""
        journal = self.journal
        if journal is None or not journal.works:
            return
        power.note_lost_disk(self)
        if journal.waiting is not None:
            power.note_dropped(self, ends=True)
        journal.fail()
        if self.has_agent:
            self.running.journal_failed()

    def mend_journal(self) -> None:
        """It does again."""
        journal = self.journal
        if journal is None or journal.works:
            return
        journal.rewrite(self.replica)
        journal.worked_since_s = self.world.timeline.now_s
        if self.has_agent:
            self.running.journal_works()

    def wipe(self) -> None:
        """Kill, and lose the store: what comes up is a new node."""
        self.kill()
        if self.journal is not None:
            power.note_lost_disk(self)
            self.journal.wipe()
        self.world.ledger.lose(self.replica.life, self.world.timeline.now_s)
        self.replica = self._new_replica()
        self.was_full = False

    def fall_back(self) -> None:
        """Kill, and lose what the store has not synced."""
        self.kill()
        self.fell_back = True
        self.replica.fall_back()

    def leave(self) -> None:
        """Stop gracefully."""
        if not self.awake:
            return
        if self.agent is not None and self.agent.alive:
            self.agent.leave()
        self.kill()

    def kill_agent(self) -> None:
        """kill -9 of the agent alone; a worker starts another."""
        if self.agent is None or not self.agent.alive:
            return
        self.agent.die()
        for worker in self.workers:
            worker.port.contact.lost()
        self.world.timeline.later(AGENT_RESTART_S, lambda: self.do(self._start_agent))

    def kill_worker(self, number: int) -> None:
        """kill -9 of a worker; its server starts another."""
        if not self.up:
            return
        place = number % WORKERS
        self.workers[place].alive = False
        self._tell_serving()

        def restart() -> None:
            if self.up and not self.workers[place].alive:
                self.workers[place] = Worker(self, place)
                self._tell_serving()

        self.world.timeline.later(WORKER_RESTART_S, lambda: self.do(restart))

    def pause(self, seconds: float) -> None:
        """Everything stands still for a while, as under SIGSTOP or a frozen virtual machine."""
        if not self.awake:
            return
        self._paused_in_peace = self.world.disturbances if at_peace(self.world) else -1
        self._paused_s = self.world.timeline.now_s
        self._paused = True
        self.world.timeline.later(seconds, self.resume)

    def resume(self) -> None:
        """Go on with what has piled up."""
        if not self._paused:
            return
        self._paused = False
        self._woke_s = self.world.timeline.now_s
        while self._backlog and not self._paused:
            self._backlog.popleft()()

    def drain(self) -> None:
        """Move users away."""
        if self.awake and self.agent is not None and self.agent.alive:
            self.agent.engine.drain(self.clock.moment())
            self.agent.pump()

    def fill_disk(self, full: bool) -> None:
        """No space for the store, or space again."""
        self.replica.disk.full = full
        self.was_full |= full

    def _tell_serving(self) -> None:
        if self.agent is not None and self.agent.alive:
            self.agent.tell_workers()
