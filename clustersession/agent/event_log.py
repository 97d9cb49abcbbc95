"""Turns news into lines of the log, and counts news that repeats."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import singledispatchmethod

from clustersession.core.identity import short
from clustersession.core.ids import log_name
from clustersession.core.membership import (
    Member,
    MemberAdded,
    MemberLeft,
    MemberLost,
    MemberRefuted,
    MemberSuspected,
    RouteConflict,
)
from clustersession.node import news
from clustersession.node.news import News
from clustersession.node.store_calls import STORE
from clustersession.settings.settings import Settings
from clustersession.wire.envelope import DropReason

logger = logging.getLogger("clustersession.agent")

REPEAT_AFTER_S = 60.0
KINDS_MAX = 1024
RECENT_MAX = 200
TOLD_MAX = 600
"""Lines of one event in REPEAT_AFTER_S; a large cluster that starts is no flood."""
NEIGHBOURS_AFTER_S = 3600.0
"""Other clusters share the group for good, and each of their heartbeats arrives here."""
_REMARKS = {
    DropReason.UNKNOWN_KEY: (
        "datagram: unknown_key (another secret: harmless from another application, and every node "
        "of one cluster needs the same)"
    ),
    DropReason.OTHER_CLUSTER: (
        "datagram: other_cluster (harmless; to be rid of it give each cluster its multicast_port)"
    ),
}


class EventLog:
    """Turns news into log lines, counts it, and passes the lines on to a worker's log."""

    def __init__(self, settings: Settings, name_of: Callable[[bytes], str]) -> None:
        self._settings = settings
        self._name_of = name_of
        # The group's address, as log lines name it.
        self._group = f"{settings.multicast_address}:{settings.multicast_port}"
        # When an event was last logged about the same thing, and how often it was not since. Both
        # are emptied at KINDS_MAX, so that nobody fills them by inventing things.
        self._said_s: dict[str, float] = {}
        self._kept_silent: Counter[str] = Counter()
        # By event of which people want to see each one: since when it is counted, and how often it
        # happened since; at TOLD_MAX in REPEAT_AFTER_S it is a flood.
        self._told: dict[str, tuple[float, int]] = {}
        # Counts for the status, by what was counted; KINDS_MAX names at most.
        self.counters: Counter[str] = Counter()
        # How often each event happened, those included that were not logged for being many.
        self.events: Counter[str] = Counter()
        # How many sessions of how many the last snapshot had brought.
        self.snapshot = (0, 0)
        # The newest lines, with wall-clock milliseconds and level, for people who look now.
        self.recent: deque[tuple[int, str, str]] = deque(maxlen=RECENT_MAX)
        # Takes level and text of each line to a worker; set by the agent when it has workers.
        self.forward: Callable[[str, str], None] = lambda level, text: None

    @singledispatchmethod
    def report(self, event: News) -> None:
        """Log and count one piece of news, if it is one for people."""

    @report.register
    def _member_added(self, event: MemberAdded) -> None:
        text = f"member added: {_describe(event.member)}"
        self._tell("info", "member_added", text, **_fields(event.member))

    @report.register
    def _member_lost(self, event: MemberLost) -> None:
        member = event.member
        self.counters["members_lost"] += 1
        text = f"member lost: {_describe(member)}: {member.reason}"
        self._tell("warning", "member_lost", text, **_fields(member), reason=member.reason)

    @report.register
    def _member_left(self, event: MemberLeft) -> None:
        text = f"member left: {_describe(event.member)}"
        self._tell("info", "member_left", text, **_fields(event.member))

    @report.register
    def _member_suspected(self, event: MemberSuspected) -> None:
        self.counters["suspicions"] += 1
        self.events["member_suspected"] += 1
        logger.debug("member suspected: %s: %s", _describe(event.member), event.member.reason)

    @report.register
    def _member_refuted(self, event: MemberRefuted) -> None:
        self.counters["suspicions_refuted"] += 1
        self.events["suspicion_refuted"] += 1
        logger.debug("member is alive after all: %s", _describe(event.member))

    @report.register
    def _route_conflict(self, event: RouteConflict) -> None:
        where = " and ".join(map(str, event.addresses))
        self.seldom(
            "warning", "route_conflict",
            f"two nodes carry the route {event.route!r}: {where}; give each its own route, "
            "a balancer cannot tell them apart",
            about=event.route, route=event.route,
        )

    @report.register
    def _ready(self, event: news.BecameReady) -> None:
        self._tell("info", "ready", f"ready: {event.how}")

    @report.register
    def _snapshot_loading(self, event: news.SnapshotLoading) -> None:
        self.snapshot = (event.loaded, event.total)
        donor = self._name_of(event.donor)
        self.seldom(
            "info", "snapshot_loading",
            f"loading sessions from {donor}: {event.loaded} of {event.total}",
            about=event.donor.hex(), every_s=2.0, peer=donor, loaded=event.loaded,
            total=event.total,
        )

    @report.register
    def _clock_skewed(self, event: news.ClockSkewed) -> None:
        peer = self._name_of(event.node)
        self.seldom(
            "warning", "clock_skewed",
            f"the clock of {peer} differs from ours by {event.skew_ms / 1000:+.1f} s; "
            "synchronise the clocks of all hosts (NTP)",
            about=event.node.hex(), peer=peer, skew_ms=event.skew_ms,
        )

    @report.register
    def _future_refused(self, event: news.FutureRefused) -> None:
        peer = self._name_of(event.node)
        self.counters["batches_from_the_future"] += 1
        if event.node == STORE:
            self.seldom(
                "error", "store_refuses_times",
                "the store takes changes of this node for written more than "
                f"{2 * self._settings.clock_skew_s_max:g} s in the future, and they wait until the "
                "clocks agree; synchronise the clocks (NTP)",
            )
            return
        self.seldom(
            "error", "changes_from_the_future",
            f"changes of {peer} carry times more than {self._settings.clock_skew_s_max:g} s in the "
            "future and wait until the clocks agree",
            about=event.node.hex(), peer=peer,
        )

    @report.register
    def _unreachable(self, event: news.Unreachable) -> None:
        peer = self._name_of(event.node)
        self.seldom(
            "warning", "peer_unreachable",
            f"{peer} says that it listens at {event.address}, where nobody is reached from here "
            f"({event.reason}); set bind or advertise on {peer}, or open its port",
            about=event.node.hex(), peer=peer, address=str(event.address), reason=event.reason,
        )

    @report.register
    def _self_unreachable(self, event: news.SelfUnreachable) -> None:
        self.seldom(
            "warning", "self_unreachable",
            f"{self._name_of(event.node)} does not reach this node at {event.address}, the address "
            "that it tells others; set bind or advertise here, or open the port",
        )

    @report.register
    def _multicast_unheard(self, event: news.MulticastUnheard) -> None:
        self._tell(
            "warning", "multicast_unheard",
            f"not even our own heartbeats come back from multicast group {self._group} on the "
            f"interface of {self._settings.bind}; where the network carries no multicast, "
            "set seeds",
        )

    @report.register
    def _multicast_heard(self, event: news.MulticastHeard) -> None:
        self._tell("info", "multicast_heard", f"multicast group {self._group} works")

    @report.register
    def _repaired(self, event: news.Repaired) -> None:
        peer, sessions = self._name_of(event.node), event.sessions
        self.counters["sessions_repaired"] += sessions
        self.seldom(
            "info", "sessions_repaired",
            f"anti-entropy brought {sessions} session(s) from {peer}", peer=peer, sessions=sessions,
        )

    @report.register
    def _too_large(self, event: news.TooLarge) -> None:
        self.counters["sessions_too_large"] += 1
        self.seldom(
            "error", "session_too_large",
            f"session {log_name(event.key)} is too large for a message and stays on this node "
            "alone",
        )

    @report.register
    def _gap_found(self, event: news.GapFound) -> None:
        self.counters["gaps_repaired"] += 1
        self.events["gap_found"] += 1

    @report.register
    def _message_dropped(self, event: news.MessageDropped) -> None:
        self.dropped(f"message: {event.reason}", self._name_of(event.node))

    @report.register
    def _replica_failed(self, event: news.ReplicaFailed) -> None:
        self.seldom("error", "replica_failed", f"the replica failed: {event.reason}")

    @report.register
    def _no_new_node_id(self, event: news.NoNewNodeId) -> None:
        self.seldom("error", "replica_failed", f"no new node id: {event.reason}")

    @report.register
    def _view_not_written(self, event: news.ViewNotWritten) -> None:
        self.seldom("error", "view_failed", f"no view for the workers: {event.reason}")

    @report.register
    def _past_lost(self, event: news.PastLost) -> None:
        peer = self._name_of(event.node)
        self._tell(
            "warning", "past_lost",
            f"{peer} has seen writes that this node does not remember; going on under a new node "
            "id",
            peer=peer,
        )

    @report.register
    def _too_many_links(self, event: news.TooManyLinks) -> None:
        self.seldom(
            "warning", "too_many_links",
            f"more than {event.links_max} connections with nodes, which is what this host's "
            "descriptors allow; those of nodes that never sent a change are closed. See who has "
            "the secret, or raise LimitNOFILE",
            every_s=float("inf"), links_max=event.links_max,
        )

    @report.register
    def _times_wrong(self, event: news.TimesWrong) -> None:
        self.seldom(
            "warning", "times_wrong",
            f"the replica carries times {event.ahead_ms / 1000:.0f} s ahead of this host's clock "
            "and its peers': a clock was wrong; what they refuse is written again, under a new "
            "node id",
            ahead_ms=event.ahead_ms,
        )

    @report.register
    def _store_full(self, event: news.StoreFull) -> None:
        self.counters["store_full"] += 1
        self._tell(
            "error", "store_full",
            "the store is full; new sessions and what makes one larger stay on this host until "
            "there is space; raise its maxmemory",
        )

    @report.register
    def _store_has_space(self, event: news.StoreHasSpace) -> None:
        self._tell("info", "store_has_space", "the store has taken what it had no space for")

    @report.register
    def _store_damaged(self, event: news.StoreDamaged) -> None:
        self.counters["store_damaged"] += 1
        name = log_name(event.key)
        text = f"session {name} in the store is damaged or forged; a host that holds it mends it"
        if event.is_foreign:
            text = f"session {name} in the store was sealed with another secret; give all hosts one"
        self.seldom("warning", "store_damaged", text, session=name)

    @report.register
    def _recovery_waits(self, event: news.RecoveryWaits) -> None:
        routes = sorted(route or short(node) for node, route in event.required.items())
        if not routes:
            return
        self._tell(
            "warning", "recovery_waits",
            f"sessions from before the power cut wait for {', '.join(routes)}, where their users "
            "may have logged out; start what is missing, or say clustersession recover --without "
            f"ROUTE; dropped in {self._settings.recovery_wait_s:g} s",
            missing=routes,
        )

    @report.register
    def _recovered(self, event: news.Recovered) -> None:
        self.counters["sessions_recovered"] += event.sessions
        self._tell(
            "warning", "recovered",
            f"sessions from before the power cut are back: {event.sessions} changes",
            sessions=event.sessions,
        )

    @report.register
    def _recovery_dropped(self, event: news.RecoveryDropped) -> None:
        missing = sorted(self._name_of(node) for node in event.missing)
        self._tell(
            "error", "recovery_dropped",
            f"sessions from before the power cut were dropped, because {', '.join(missing)} did "
            f"not come back within {self._settings.recovery_wait_s:g} s; their users log in again",
            missing=missing,
        )

    def journal_found(self, size: int, lost: int, lost_in: list[str], whole: bool) -> None:
        """Log that the replica is made anew from the journal, and what of that cannot be read."""
        self._tell(
            "warning", "journal_found",
            f"the replica is begun anew, and the journal has {size} bytes to recover from",
            size=size,
        )
        where = ", ".join(lost_in)
        if lost and whole:
            self._tell(
                "warning", "journal_torn",
                f"{lost} bytes of the journal cannot be read ({where}): the last second before the "
                "cut",
            )
        elif lost:
            self._tell(
                "error", "journal_damaged",
                f"{lost} bytes of the journal cannot be read ({where}), though they were on the "
                "disk, which may be failing: see to it, and say clustersession recover to serve "
                "what is left",
            )

    def journal_in_memory(self, kind: str) -> None:
        """Log that the journal is where it goes with the power."""
        self._tell(
            "warning", "journal_in_memory",
            f"the journal is in memory ({kind}): no session survives a power cut of all nodes; set "
            "state_dir to a disk, or durability to none",
            kind=kind,
        )

    def journal_failed(self, why: str) -> None:
        """Log why the journal is away."""
        self.counters["journal_failed"] += 1
        self._tell(
            "error", "journal_failed",
            f"the journal is away ({why}): sessions do not survive a power cut of all nodes until "
            "it works again",
            reason=why,
        )

    def journal_slow(self, took_s: float) -> None:
        """Log that a power cut would have taken more than the last second."""
        self.seldom(
            "warning", "journal_slow",
            f"the disk took {took_s:.1f} s to take the journal: a power cut of all nodes would "
            "have taken that much more than the last second",
            took_s=round(took_s, 3),
        )

    def journal_works(self) -> None:
        """Log that it is there again."""
        self._tell("info", "journal_works", "the journal works again and has all sessions")

    def store_reached(self, servers: str, away_s: float) -> None:
        """Log that the store is there; ``away_s``: after having been away so long, 0 at first."""
        text = f"the store is reached: {servers}"
        if away_s:
            text += f", after {away_s:.1f} s; it is told what waits, and compared with what is here"
        self._tell("info", "store_reached", text, servers=servers, away_s=away_s)

    def store_away(self, reason: str) -> None:
        """Log why the store is away."""
        self.counters["store_away"] += 1
        self._tell(
            "warning", "store_away",
            f"{reason}; until it is back this node serves the sessions that it holds",
            reason=reason,
        )

    def dropped(
        self, reason: str, source: str, level: str = "warning", every_s: float = REPEAT_AFTER_S
    ) -> None:
        """Log that something from outside was not accepted."""
        # Some reasons quote a peer; there must not be a counter for whatever it invents.
        known = len(self.counters) < KINDS_MAX or f"dropped: {reason}" in self.counters
        self.counters[f"dropped: {reason}" if known else "dropped: other"] += 1
        self.seldom(
            level, f"dropped_{reason.partition(':')[0].replace(' ', '_')}",
            f"dropped what came from {source}: {reason}", about=reason, every_s=every_s,
            source=source, reason=reason,
        )

    def dropped_datagram(self, reason: DropReason, source: str) -> None:
        """Log that a datagram from the group was not accepted."""
        if reason in _REMARKS:
            self.dropped(_REMARKS[reason], source, "info", NEIGHBOURS_AFTER_S)
        else:
            self.dropped(f"datagram: {reason}", source)

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
