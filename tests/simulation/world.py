"""A world: hosts, network and clock, and everything that is noticed in it."""

import hashlib
import random
from collections import Counter
from functools import lru_cache
from typing import Any

from clustersession.core.identity import Address, Identity
from clustersession.core.membership import (
    MemberAdded,
    MemberLeft,
    MemberLost,
    MemberRefuted,
    MemberSuspected,
)
from clustersession.core.state import SessionState
from clustersession.node import news
from clustersession.node.news import News
from clustersession.session.token import IdSigner
from clustersession.settings.settings import Settings
from clustersession.wire.keys import ClusterKeys
from tests.simulation import power
from tests.simulation.agent import Agent
from tests.simulation.direct import DirectTraffic
from tests.simulation.host import Host, name_of
from tests.simulation.ledger import Ledger, Violation
from tests.simulation.merging import Deeds
from tests.simulation.neighbours import check_holders
from tests.simulation.network import Network, Weather
from tests.simulation.plan import Plan
from tests.simulation.store import SimulatedStore
from tests.simulation.timeline import Timeline
from tests.simulation.users import LOCAL_MARK, LOCAL_NAME, Users

SETTINGS: dict[str, Any] = {
    "distributable": True, "fetch_timeout_s": 0.25, "repair_interval_s": 3.0,
    "local_attributes": (LOCAL_NAME,),
}
KILL_KNOWN_S = 1.0
RECOVERY_WAIT_S = 15.0
QUIET_S = 0.3
EVENTS = {
    MemberAdded: "added", MemberSuspected: "suspects", MemberRefuted: "trusts again",
    MemberLost: "lost", MemberLeft: "saw leave",
}


class World:
    """One run of one plan."""

    def __init__(self, plan: Plan, *, remember: bool = False) -> None:
        self.plan = plan
        self.timeline = Timeline()
        weather = Weather(plan.loss, plan.duplication, plan.jitter_s)
        self.network = Network(self.timeline, weather, plan.seed)
        if plan.ahead:
            self.network.overtaking = random.Random(f"{plan.seed}.overtaking")
        self.ledger = Ledger()
        self.users = Users()
        self.deeds = Deeds()
        self.marks: Counter[str] = self.ledger.marks
        store = {"store": "valkey://simulated", "near_cache_idle_s": 0.0} if plan.store else {}
        if plan.power:
            store = {"recovery_wait_s": RECOVERY_WAIT_S}
        self.settings = Settings(**{**SETTINGS, **store, **plan.settings})
        self.keys, self.signer = _secrets()
        self.lines: list[str] | None = [] if remember else None
        self.disturbances = 0
        self.quiet_s = 0.0
        self._disturbed_s = 0.0
        self.settled_s: float | None = None
        self.recovered = False
        self.skew_ms_seen = 0.0
        self._trace = hashlib.blake2b(digest_size=16)
        self._random = random.Random(f"{plan.seed}.choices")
        self._numbers = 0
        self._incarnations: dict[bytes, int] = {}
        self._left: dict[bytes, int] = {}
        self.owners: dict[tuple[str, frozenset[str]], str] = {}
        self.store = SimulatedStore(self) if plan.store else None
        self.hosts = [Host(self, name_of(n), n + 1) for n in range(plan.hosts)]
        self.network.stations.update({host.name: host for host in self.hosts})
        if self.store is not None:
            self.network.stations[self.store.name] = self.store
        self.direct = DirectTraffic()
        self._by_ip = {host.ip: host for host in self.hosts}
        self.ledger.copies_of = self._copies_of

    # ---- what hosts ask for ----------------------------------------------------------------------

    def random_int(self, below: int) -> int:
        """A number below another, the same in every run of the plan."""
        return self._random.randrange(below)

    def next_number(self) -> int:
        """1, 2, 3 ..."""
        self._numbers += 1
        return self._numbers

    def new_node(self) -> bytes:
        """An id for a node."""
        return self.bytes_for(f"node {self.next_number()}", 8)

    def bytes_for(self, name: str, count: int) -> bytes:
        """Bytes that follow from the plan's seed and a name."""
        return hashlib.blake2b(f"{self.plan.seed} {name}".encode(), digest_size=count).digest()

    def host_at(self, address: Address) -> Host | None:
        """Who listens there."""
        return self._by_ip.get(address.host)

    def _copies_of(self, key: str) -> list[SessionState]:
        copies = [host.replica.get(key) for host in self.hosts]
        if self.store is not None:
            copies.append(self.store.get(key))
        return [copy for copy in copies if copy is not None]

    # ---- what is noticed -------------------------------------------------------------------------

    def trace(self, host: Host, kind: str, data: bytes) -> None:
        """Something reached a host: part of what two runs of one plan have in common."""
        if LOCAL_MARK in data:
            raise Violation(f"{host.name} was sent an attribute that stays on another node")
        self._trace.update(f"{self.timeline.now_s!r} {host.name} {kind} ".encode() + data)

    @property
    def trace_hash(self) -> str:
        """Of everything that has happened so far."""
        return self._trace.hexdigest()

    def say(self, text: str) -> None:
        """One line of the story."""
        line = f"{self.timeline.now_s:8.3f} {text}"
        self._trace.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    def began(self, identity: Identity) -> None:
        """A node begins a life, later than its last; a store that is older and a clock that went
        back at the same time are more than a node can see through."""
        host = self._by_ip[identity.address.host]
        known = self._incarnations.get(identity.node, -1)
        if host.fell_back and (self.skew_ms_seen or identity.incarnation == known):
            return
        if identity.incarnation <= known:
            raise Violation(f"{identity.route} began with an old incarnation")
        self._incarnations[identity.node] = identity.incarnation

    def note(self, host: Host, told: News) -> None:
        """An engine has something to tell."""
        word = EVENTS.get(type(told))
        if word is not None:
            self._note_member(host, told, word)
            return
        match told:
            case news.GapFound():
                self.marks["gap repaired"] += 1
                if self.plan.is_harmless and not self.plan.jitter_s:
                    raise Violation(f"{host.name} found a gap, and nothing had happened")
            case news.Repaired():
                self.marks["repaired by anti-entropy"] += 1
                statuses = {member.status.value for member in host.running.engine.membership}
                self.marks["repaired after a death"] += "dead" in statuses
            case news.BecameReady(how):
                self.say(f"{host.name}: ready, {how}")
                self.marks["snapshot loaded"] += "snapshot" in how
            case news.RecoveryWaits(required):
                self.say(f"{host.name}: waits for {sorted(required.values())}")
                self.marks["recovery waited for members"] += bool(required)
            case news.Recovered(count):
                self.say(f"{host.name}: recovered {count} sessions")
                self.marks["sessions recovered"] += count > 0
                power.check_recovered(host)
            case news.RecoveryDropped():
                self.say(f"{host.name}: recovery is given up")
                self.marks["recovery given up"] += 1
                power.note_dropped(host)
            case news.MessageDropped(_, reason):
                self.marks[f"dropped: {reason}"] += 1
            case news.FutureRefused():
                self.marks["future refused"] += 1
            case news.StoreFull():
                self.say(f"{host.name}: the store is full")
            case news.StoreHasSpace():
                self.marks["store took what it had refused"] += 1
                self.say(f"{host.name}: the store has space")
            case news.TooLarge():
                raise Violation(f"{host.name} found a session too large to send")
            case _:
                pass

    def _note_member(self, host: Host, told: News, word: str) -> None:
        member = told.member  # type: ignore[union-attr]
        reason = f" ({member.reason})" if member.reason else ""
        self.say(f"{host.name}: {word} {member.identity.route}{reason}")
        if self._left.get(member.identity.node) == self.disturbances and word != "saw leave":
            raise Violation(f"{host.name} {word} {member.identity.route}, which said goodbye")
        if isinstance(told, MemberAdded):
            return
        silent = isinstance(told, MemberSuspected) and member.reason.startswith("silent")
        if silent and host.woke_in_peace:
            raise Violation(f"{host.name} {word} {member.identity.route} for its own pause")
        if self.plan.is_harmless:
            raise Violation(f"{host.name} {word} {member.identity.route}, and nothing had happened")
        if isinstance(told, MemberRefuted):
            self.marks["suspicion refuted"] += 1
            if member.vouched_s >= member.suspect_s:
                self.marks["probe saved a slow member"] += 1

    def confirmed(self, host: Host, head: int, peers: int) -> None:
        """A worker was told how many peers hold its commit, -1 when it waited in vain."""
        commit = host.replica.commits.get(head)
        if commit is None:
            return
        node, seqs = commit
        if peers < 0:
            self.marks["write that waited in vain"] += 1
        if peers > 0:
            facts = self.ledger.confirmed(host.replica.life, node, seqs, peers)
            for fact in facts:
                if node not in self.ledger.nodes_fallen_back:
                    check_holders(host, fact, peers)
        if peers >= 0 and host.journal is not None:
            power.acknowledged(host, node, seqs)
        undisturbed = self.plan.is_harmless and self.settled_s is not None
        if self.store is not None and self.store.is_full and peers < 0:
            if undisturbed and self.ledger.ends_alone(host.replica.life, node, seqs):
                raise Violation(f"{host.name}: an end was not taken by a store that is full")
            return
        others = len(self.hosts) - 1 if self.store is None else 1
        wanted = others if self.settings.ack == "all" else min(others, 1)
        if (undisturbed or self.recovered) and peers < wanted:
            raise Violation(f"{host.name} got {peers} confirmations, and nothing had happened")

    # ---- deaths must be noticed ------------------------------------------------------------------

    def disturb(self) -> None:
        """Something was injected; what was expected to go undisturbed no longer is."""
        self.disturbances += 1
        self.quiet_s = self.timeline.now_s - self._disturbed_s
        self._disturbed_s = self.timeline.now_s
        for host in self.hosts:
            self.skew_ms_seen = max(self.skew_ms_seen, abs(host.clock.offset_ms()))

    def expect_silence(self, leaver: Host) -> None:
        """A host has left gracefully: unless more happens, nobody may make a stir about it."""
        network = self.network
        if self.store is not None and not self.store.is_well:
            return
        if network.blocked or network.extra_s or network.clogged_until_s:
            # Its goodbye may be on its way for longer than a silence is borne.
            return
        if self.quiet_s >= QUIET_S:
            self._left[leaver.replica.node] = self.disturbances

    def expect_notice(self, victim: Host, *, silent: bool) -> None:
        """A host has just died: unless more happens, the others must know within the bound."""
        network = self.network
        if network.blocked or network.extra_s or network.clogged_until_s or network.to_drop:
            return
        if self.quiet_s < QUIET_S or (self.store is not None and not self.store.is_well):
            return
        # By the store nobody learns more of a death than silence.
        silent |= self.store is not None
        others = [host for host in self.hosts if host is not victim]
        if any(host.dark or (host.up and not host.awake) for host in others):
            # A helper that stands still is waited for.
            return
        disturbances, node = self.disturbances, victim.replica.node
        for host in self.hosts:
            agent = host.agent
            if host is victim or not host.awake or agent is None or not agent.alive:
                continue
            member = agent.engine.membership.get(node)
            if member is None or member.status.value != "alive" or not member.linked:
                continue
            detector = agent.engine.membership.detector
            bound_s = KILL_KNOWN_S
            if silent:
                # A probe that times out, and the timers' own grain, come on top of the drop time.
                bound_s += self.settings.drop_time_s * (1 + detector.health)
                bound_s += 3 * detector.heartbeat_interval_s

            def judge(
                survivor: Host = host, agent: Agent = agent, health: int = detector.health
            ) -> None:
                if self.disturbances != disturbances or not agent.alive:
                    return
                if agent.engine.membership.detector.health > health:
                    # It was wrong about somebody meanwhile, and is more patient since.
                    return
                known = agent.engine.membership.get(node)
                if known is not None and known.present:
                    raise Violation(f"{survivor.name} has not noticed that {victim.name} died")
                self.marks["death noticed in time"] += 1

            self.timeline.later(bound_s, judge)


@lru_cache
def _secrets() -> tuple[ClusterKeys, IdSigner]:
    return ClusterKeys.derive(["simulated"], "simulated"), IdSigner([b"simulated"])
