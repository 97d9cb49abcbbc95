"""One log line per event, and a limit on events that repeat."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable

from clustersession.core.identity import short
from clustersession.core.membership import (
    Member,
    MemberAdded,
    MemberLeft,
    MemberLost,
    MemberRefuted,
    MemberSuspected,
    RouteConflict,
)
from clustersession.core.settings import Settings
from clustersession.node import outputs as out
from clustersession.wire.envelope import DropReason

logger = logging.getLogger("clustersession.agent")

REPEAT_AFTER_S = 60.0
KINDS_MAX = 1024
RECENT_MAX = 200
_REMARKS = {
    DropReason.UNKNOWN_KEY: (
        "datagram: unknown_key (another secret: every node of the cluster needs the same)"
    ),
    DropReason.OTHER_CLUSTER: (
        "datagram: other_cluster (harmless; to be rid of it give each cluster its multicast_port)"
    ),
}


class Reporter:
    """Turns events into log lines, counts them, and passes the lines on to a worker's log.

    recent: the newest lines, with wall-clock milliseconds and level; for people who look now.
    """

    def __init__(self, settings: Settings, name_of: Callable[[bytes], str]) -> None:
        self._settings = settings
        self._name_of = name_of
        self._said_s: dict[str, float] = {}
        self._kept_silent: Counter[str] = Counter()
        self.counters: Counter[str] = Counter()
        self.recent: deque[tuple[int, str, str]] = deque(maxlen=RECENT_MAX)
        self.forward: Callable[[str, str], None] = lambda level, text: None

    def report(self, event: out.Output) -> None:
        """Log one engine event, if it is one for people."""
        match event:
            case MemberAdded(member):
                self._say("info", f"member added: {_describe(member)}")
            case MemberLost(member):
                self.counters["members_lost"] += 1
                self._say("warning", f"member lost: {_describe(member)}: {member.reason}")
            case MemberLeft(member):
                self._say("info", f"member left: {_describe(member)}")
            case MemberSuspected(member):
                self.counters["suspicions"] += 1
                logger.debug("member suspected: %s: %s", _describe(member), member.reason)
            case MemberRefuted(member):
                self.counters["suspicions_refuted"] += 1
                logger.debug("member is alive after all: %s", _describe(member))
            case RouteConflict(route, addresses):
                where = " and ".join(map(str, addresses))
                self.seldom(
                    "warning", f"route {route}",
                    f"two nodes carry the route {route!r}: {where}; give each its own route, "
                    "a balancer cannot tell them apart",
                )
            case out.BecameReady(how):
                self._say("info", f"ready: {how}")
            case out.SnapshotLoading(donor, loaded, total):
                self.seldom(
                    "info", f"snapshot {donor.hex()}",
                    f"loading sessions from {self._name_of(donor)}: {loaded} of {total}",
                    every_s=2.0,
                )
            case _:
                self._report_trouble(event)

    def _report_trouble(self, event: out.Output) -> None:
        group = f"{self._settings.multicast_address}:{self._settings.multicast_port}"
        match event:
            case out.ClockSkewed(node, skew_ms):
                self.seldom(
                    "warning", f"skew {node.hex()}",
                    f"the clock of {self._name_of(node)} differs from ours by "
                    f"{skew_ms / 1000:+.1f} s; synchronise the clocks of all hosts (NTP)",
                )
            case out.FutureRefused(node):
                self.counters["batches_from_the_future"] += 1
                self.seldom(
                    "error", f"future {node.hex()}",
                    f"changes of {self._name_of(node)} carry times more than "
                    f"{self._settings.clock_skew_s_max:g} s in the future and wait until the "
                    "clocks agree",
                )
            case out.Unreachable(node, address, reason):
                name = self._name_of(node)
                self.seldom(
                    "warning", f"unreachable {node.hex()}",
                    f"{name} says that it listens at {address}, where nobody is reached from here "
                    f"({reason}); set bind or advertise on {name}, or open its port",
                )
            case out.SelfUnreachable(node, address):
                self.seldom(
                    "warning", "self unreachable",
                    f"{self._name_of(node)} does not reach this node at {address}, the address "
                    "that it tells others; set bind or advertise here, or open the port",
                )
            case out.MulticastUnheard():
                self._say(
                    "warning",
                    f"not even our own heartbeats come back from multicast group {group} on the "
                    f"interface of {self._settings.bind}; where the network carries no multicast, "
                    "set seeds",
                )
            case out.MulticastHeard():
                self._say("info", f"multicast group {group} works")
            case out.Repaired(node, sessions):
                self.counters["sessions_repaired"] += sessions
                self.seldom(
                    "info", "repaired",
                    f"anti-entropy brought {sessions} session(s) from {self._name_of(node)}",
                )
            case out.TooLarge(key):
                self.counters["sessions_too_large"] += 1
                self.seldom(
                    "error", "too large",
                    f"session {key[:6]}... is too large for a message and stays on this node alone",
                )
            case out.GapFound():
                self.counters["gaps_repaired"] += 1
            case out.Dropped(node, reason):
                self.dropped(f"message: {reason}", self._name_of(node))
            case out.PastLost(node):
                self._say(
                    "warning",
                    f"{self._name_of(node)} has seen writes that this node does not remember; "
                    "going on under a new node id",
                )
            case _:
                pass

    def dropped(self, reason: str, source: str) -> None:
        """Something from outside was not accepted."""
        # Some reasons quote a peer; there must not be a counter for whatever it invents.
        known = len(self.counters) < KINDS_MAX or f"dropped: {reason}" in self.counters
        self.counters[f"dropped: {reason}" if known else "dropped: other"] += 1
        self.seldom("warning", f"dropped {reason}", f"dropped what came from {source}: {reason}")

    def dropped_datagram(self, reason: DropReason, source: str) -> None:
        """A datagram from the group was not accepted."""
        self.dropped(_REMARKS.get(reason, f"datagram: {reason}"), source)

    def seldom(self, level: str, kind: str, text: str, every_s: float = REPEAT_AFTER_S) -> None:
        """Log, unless the same kind was logged within ``every_s``; then count."""
        now_s = time.monotonic()
        if now_s - self._said_s.get(kind, float("-inf")) < every_s:
            self._kept_silent[kind] += 1
            return
        if len(self._said_s) >= KINDS_MAX:
            self._said_s.clear()
            self._kept_silent.clear()
        self._said_s[kind] = now_s
        silent = self._kept_silent.pop(kind, 0)
        if silent:
            text += f" ({silent} more like this since the last line)"
        self._say(level, text)

    def _say(self, level: str, text: str) -> None:
        logger.log(logging.getLevelNamesMapping()[level.upper()], "%s", text)
        self.recent.append((time.time_ns() // 1_000_000, level, text))
        self.forward(level, text)


def _describe(member: Member) -> str:
    identity = member.identity
    return f"{identity.route} at {identity.address} (node {short(identity.node)})"
