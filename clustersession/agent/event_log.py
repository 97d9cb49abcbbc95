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
from clustersession.node import outputs as out
from clustersession.settings.settings import Settings
from clustersession.wire.envelope import DropReason

logger = logging.getLogger("clustersession.agent")

REPEAT_AFTER_S = 60.0
KINDS_MAX = 1024
RECENT_MAX = 200
TOLD_MAX = 600
"""Lines of one event in REPEAT_AFTER_S; a large cluster that starts is no flood."""
_REMARKS = {
    DropReason.UNKNOWN_KEY: (
        "datagram: unknown_key (another secret: every node of the cluster needs the same)"
    ),
    DropReason.OTHER_CLUSTER: (
        "datagram: other_cluster (harmless; to be rid of it give each cluster its multicast_port)"
    ),
}


class EventLog:
    """Turns events into log lines, counts them, and passes the lines on to a worker's log.

    recent: the newest lines, with wall-clock milliseconds and level; for people who look now.
    events: how often each event happened, those included that were not logged for being many.
    snapshot: how many sessions of how many the last snapshot had brought.
    """

    def __init__(self, settings: Settings, name_of: Callable[[bytes], str]) -> None:
        self._settings = settings
        self._name_of = name_of
        self._said_s: dict[str, float] = {}
        self._kept_silent: Counter[str] = Counter()
        self._told: dict[str, tuple[float, int]] = {}
        self.counters: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.snapshot = (0, 0)
        self.recent: deque[tuple[int, str, str]] = deque(maxlen=RECENT_MAX)
        self.forward: Callable[[str, str], None] = lambda level, text: None

    def report(self, event: out.Output) -> None:
        """Log one engine event, if it is one for people."""
        match event:
            case MemberAdded(member):
                text = f"member added: {_describe(member)}"
                self._tell("info", "member_added", text, **_fields(member))
            case MemberLost(member):
                self.counters["members_lost"] += 1
                text = f"member lost: {_describe(member)}: {member.reason}"
                self._tell("warning", "member_lost", text, **_fields(member), reason=member.reason)
            case MemberLeft(member):
                text = f"member left: {_describe(member)}"
                self._tell("info", "member_left", text, **_fields(member))
            case MemberSuspected(member):
                self.counters["suspicions"] += 1
                self.events["member_suspected"] += 1
                logger.debug("member suspected: %s: %s", _describe(member), member.reason)
            case MemberRefuted(member):
                self.counters["suspicions_refuted"] += 1
                self.events["suspicion_refuted"] += 1
                logger.debug("member is alive after all: %s", _describe(member))
            case RouteConflict(route, addresses):
                where = " and ".join(map(str, addresses))
                self.seldom(
                    "warning", "route_conflict",
                    f"two nodes carry the route {route!r}: {where}; give each its own route, "
                    "a balancer cannot tell them apart",
                    about=route, route=route,
                )
            case out.BecameReady(how):
                self._tell("info", "ready", f"ready: {how}")
            case out.SnapshotLoading(donor, loaded, total):
                self.snapshot = (loaded, total)
                self.seldom(
                    "info", "snapshot_loading",
                    f"loading sessions from {self._name_of(donor)}: {loaded} of {total}",
                    about=donor.hex(), every_s=2.0, peer=self._name_of(donor), loaded=loaded,
                    total=total,
                )
            case _:
                self._report_trouble(event)

    def _report_trouble(self, event: out.Output) -> None:
        group = f"{self._settings.multicast_address}:{self._settings.multicast_port}"
        match event:
            case out.ClockSkewed(node, skew_ms):
                self.seldom(
                    "warning", "clock_skewed",
                    f"the clock of {self._name_of(node)} differs from ours by "
                    f"{skew_ms / 1000:+.1f} s; synchronise the clocks of all hosts (NTP)",
                    about=node.hex(), peer=self._name_of(node), skew_ms=skew_ms,
                )
            case out.FutureRefused(node):
                self.counters["batches_from_the_future"] += 1
                self.seldom(
                    "error", "changes_from_the_future",
                    f"changes of {self._name_of(node)} carry times more than "
                    f"{self._settings.clock_skew_s_max:g} s in the future and wait until the "
                    "clocks agree",
                    about=node.hex(), peer=self._name_of(node),
                )
            case out.Unreachable(node, address, reason):
                name = self._name_of(node)
                self.seldom(
                    "warning", "peer_unreachable",
                    f"{name} says that it listens at {address}, where nobody is reached from here "
                    f"({reason}); set bind or advertise on {name}, or open its port",
                    about=node.hex(), peer=name, address=str(address), reason=reason,
                )
            case out.SelfUnreachable(node, address):
                self.seldom(
                    "warning", "self_unreachable",
                    f"{self._name_of(node)} does not reach this node at {address}, the address "
                    "that it tells others; set bind or advertise here, or open the port",
                )
            case out.MulticastUnheard():
                self._tell(
                    "warning", "multicast_unheard",
                    f"not even our own heartbeats come back from multicast group {group} on the "
                    f"interface of {self._settings.bind}; where the network carries no multicast, "
                    "set seeds",
                )
            case out.MulticastHeard():
                self._tell("info", "multicast_heard", f"multicast group {group} works")
            case out.Repaired(node, sessions):
                self.counters["sessions_repaired"] += sessions
                self.seldom(
                    "info", "sessions_repaired",
                    f"anti-entropy brought {sessions} session(s) from {self._name_of(node)}",
                    peer=self._name_of(node), sessions=sessions,
                )
            case out.TooLarge(key):
                self.counters["sessions_too_large"] += 1
                self.seldom(
                    "error", "session_too_large",
                    f"session {key[:6]}... is too large for a message and stays on this node alone",
                )
            case out.GapFound():
                self.counters["gaps_repaired"] += 1
                self.events["gap_found"] += 1
            case out.Dropped(node, reason):
                self.dropped(f"message: {reason}", self._name_of(node))
            case out.PastLost(node):
                self._tell(
                    "warning", "past_lost",
                    f"{self._name_of(node)} has seen writes that this node does not remember; "
                    "going on under a new node id",
                    peer=self._name_of(node),
                )
            case _:
                pass

    def dropped(self, reason: str, source: str) -> None:
        """Something from outside was not accepted."""
        # Some reasons quote a peer; there must not be a counter for whatever it invents.
        known = len(self.counters) < KINDS_MAX or f"dropped: {reason}" in self.counters
        self.counters[f"dropped: {reason}" if known else "dropped: other"] += 1
        self.seldom(
            "warning", f"dropped_{reason.partition(':')[0].replace(' ', '_')}",
            f"dropped what came from {source}: {reason}", about=reason, source=source,
            reason=reason,
        )

    def dropped_datagram(self, reason: DropReason, source: str) -> None:
        """A datagram from the group was not accepted."""
        self.dropped(_REMARKS.get(reason, f"datagram: {reason}"), source)

    def seldom(
        self, level: str, event: str, text: str, *, about: str = "",
        every_s: float = REPEAT_AFTER_S, **fields: object,
    ) -> None:
        """Log, unless the same event was logged ``about`` the same within ``every_s``; then count.

        ``event`` is its name for programs, with the fields; there must not be many of them.
        """
        self._seldom(level, event, text, about, every_s, fields)

    def _seldom(
        self, level: str, event: str, text: str, about: str, every_s: float,
        fields: dict[str, object],
    ) -> None:
        self.events[event] += 1
        kind, now_s = f"{event} {about}", time.monotonic()
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
            fields["repeated"] = silent
        self._say(level, event, text, fields)

    def _tell(self, level: str, event: str, text: str, **fields: object) -> None:
        """Log a change of state, each of which people want to see; unless they come in floods."""
        now_s = time.monotonic()
        since_s, told = self._told.get(event, (now_s, 0))
        if now_s - since_s >= REPEAT_AFTER_S:
            since_s, told = now_s, 0
        self._told[event] = since_s, told + 1
        if told < TOLD_MAX:
            self.events[event] += 1
            self._say(level, event, text, fields)
        else:
            self._seldom(level, event, text, "", REPEAT_AFTER_S, fields)

    def _say(self, level: str, event: str, text: str, fields: dict[str, object]) -> None:
        number = logging.getLevelNamesMapping()[level.upper()]
        logger.log(number, "%s", text, extra={"event": event, "fields": fields})
        self.recent.append((time.time_ns() // 1_000_000, level, text))
        self.forward(level, text)


def _describe(member: Member) -> str:
    identity = member.identity
    return f"{identity.route} at {identity.address} (node {short(identity.node)})"


def _fields(member: Member) -> dict[str, object]:
    identity = member.identity
    return {
        "peer": identity.route, "address": str(identity.address), "node": short(identity.node),
    }
