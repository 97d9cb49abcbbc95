"""Defines every metric: its name, kind and help, and how its values follow from the status.

Names and units are by Prometheus' conventions. There is a bounded number of each: labels are closed
sets of words, or routes of nodes that are here or were within the hour, ROUTES_MAX at most.
"""

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

from clustersession.core.durations import BOUNDS_US, bucket_names
from clustersession.core.errors import ConfigurationError
from clustersession.core.identity import Phase
from clustersession.core.membership import Status
from clustersession.core.transitions import END_REASONS

Row = tuple[tuple[str, ...], float]

ROUTES_MAX = 512
PREFIX = "clustersession_"


def require_client() -> None:
    """Raise a ConfigurationError that says what to install if prometheus-client is missing."""
    if find_spec("prometheus_client") is None:
        raise ConfigurationError(
            "metrics need the package prometheus-client; install clustersession[metrics], or leave "
            "metrics_port at 0"
        )


class Metric(NamedTuple):
    """Describes a metric. ``rows`` yields label values and value, or nothing if nobody can tell.

    A histogram's rows are its buckets, each with what is in those before it, and then its sum.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    rows: Callable[[Mapping[str, Any]], Iterator[Row]]

    @property
    def sample_name(self) -> str:
        """Return the name that queries use."""
        return self.name + {"counter": "_total", "histogram": "_bucket"}.get(self.kind, "")


def _value(*path: str) -> Callable[[Mapping[str, Any]], Iterator[Row]]:
    def rows(status: Mapping[str, Any]) -> Iterator[Row]:
        found: Any = status
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(found, bool | int | float):
            yield (), float(found)
    return rows


def _each(*path: str) -> Callable[[Mapping[str, Any]], Iterator[Row]]:
    def rows(status: Mapping[str, Any]) -> Iterator[Row]:
        found: Any = status
        for name in path:
            found = found.get(name, {})
        for label, value in found.items():
            yield (str(label),), float(value)
    return rows


def _peer(value: Callable[[Mapping[str, Any]], float], *, absent_too: bool = False,
          ) -> Callable[[Mapping[str, Any]], Iterator[Row]]:
    def rows(status: Mapping[str, Any]) -> Iterator[Row]:
        for route, member in peers_by_route(status).items():
            if absent_too or _is_present(member):
                yield (route,), value(member)
    return rows


def peers_by_route(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Choose a member for each route: one that is here before one that was, then the newest.

    Nodes that left on purpose are nobody's business any more.
    """
    members = [m for m in status.get("members", ()) if m["status"] != Status.LEFT]
    members.sort(key=lambda m: (_is_present(m), -m["since_s"]), reverse=True)
    found: dict[str, Mapping[str, Any]] = {}
    for member in members[: ROUTES_MAX]:
        found.setdefault(member["route"], member)
    return found


def _is_present(member: Mapping[str, Any]) -> bool:
    return member["status"] in (Status.ALIVE, Status.SUSPECT)


def _members(status: Mapping[str, Any]) -> Iterator[Row]:
    counted = dict.fromkeys(map(str, Status), 0)
    for member in status.get("members", ()):
        counted[member["status"]] += 1
    for name, count in counted.items():
        yield (name,), count


def _phase(status: Mapping[str, Any]) -> Iterator[Row]:
    for phase in Phase:
        yield (phase.name.lower(),), float(status["phase"] == phase.name.lower())


def _carrier(status: Mapping[str, Any]) -> Iterator[Row]:
    for carrier in ("multicast", "tcp", "store"):
        yield (carrier,), float(status.get("carrier") == carrier)


def _store_up(status: Mapping[str, Any]) -> Iterator[Row]:
    if "store" in status:
        yield (), float(status["store"]["state"] != "away")


def _store_full(status: Mapping[str, Any]) -> Iterator[Row]:
    if "store" in status:
        yield (), float(status["store"]["state"] == "full")


def _store_oldest(status: Mapping[str, Any]) -> Iterator[Row]:
    if "store" in status:
        yield (), status["store"].get("oldest_s") or 0.0


def _store_round_trip(status: Mapping[str, Any]) -> Iterator[Row]:
    for _, took_ms in _value("store", "round_trip_ms")(status):
        yield (), took_ms / 1000


def _journal_up(status: Mapping[str, Any]) -> Iterator[Row]:
    journal = status.get("journal", {})
    if journal.get("durability", "none") != "none":
        yield (), float(not journal["failed"])


def _recovery_waits(status: Mapping[str, Any]) -> Iterator[Row]:
    if "recovery" in status:
        yield (), float(status["recovery"]["stage"] != "over")


def _longest_sync(status: Mapping[str, Any]) -> Iterator[Row]:
    for _, took_ms in _value("journal", "longest_sync_ms")(status):
        yield (), took_ms / 1000


def _ended(status: Mapping[str, Any]) -> Iterator[Row]:
    work = status.get("work", {})
    for reason in END_REASONS:
        if (count := work.get(f"ended_{reason}")) is not None:
            yield (reason,), float(count)


def _durations(name: str) -> Callable[[Mapping[str, Any]], Iterator[Row]]:
    bounds = [*(f"{bound / 1e6:g}" for bound in BOUNDS_US), "+Inf"]

    def rows(status: Mapping[str, Any]) -> Iterator[Row]:
        work, count = status.get("work", {}), 0
        sum_us = work.get(f"{name}_us")
        if sum_us is None:
            return
        for bound, bucket in zip(bounds, bucket_names(name), strict=True):
            count += work.get(bucket, 0)
            yield (bound,), float(count)
        yield ("sum",), sum_us / 1e6
    return rows


def _info(status: Mapping[str, Any]) -> Iterator[Row]:
    names = ("cluster_name", "route", "node", "version")
    yield tuple(str(status.get(name, "")) for name in names), 1.0


def _workers(status: Mapping[str, Any]) -> Iterator[Row]:
    yield (), float(len(status.get("workers", ())))


def _started(status: Mapping[str, Any]) -> Iterator[Row]:
    for _, started_ms in _value("process", "started_ms")(status):
        yield (), started_ms / 1000


def _counter(name: str, text: str, rows: Any, *labels: str) -> Metric:
    return Metric(PREFIX + name, "counter", text, labels, rows)


def _gauge(name: str, text: str, rows: Any, *labels: str) -> Metric:
    return Metric(PREFIX + name, "gauge", text, labels, rows)


def _work(name: str, count: str, text: str) -> Metric:
    return _counter(name, f"{text}; told by the workers every few seconds.", _value("work", count))


def _histogram(step: str, text: str) -> Metric:
    return Metric(f"{PREFIX}{step}_seconds", "histogram", text, ("le",), _durations(step))


METRICS: tuple[Metric, ...] = (
    _gauge("node_info", "This node; always 1.", _info, "cluster", "route", "node", "version"),
    _gauge("phase", "1 for what this node is doing, 0 for the other phases.", _phase, "phase"),
    _gauge("serving", "Whether a worker is here to answer requests.", _value("serving")),
    _gauge("workers", "Workers attached to the agent.", _workers),
    _gauge("agent_uptime_seconds", "How long the agent runs.", _value("uptime_s")),
    _gauge("members", "Other nodes by status; lost ones are forgotten after an hour.", _members,
           "status"),
    _gauge("local_health", "0 is good; more: this node was late or wrong lately.",
           _value("local_health")),
    _gauge("peer_up", "Whether a peer is a member; 0 for an hour after it was lost.",
           _peer(lambda m: _is_present(m), absent_too=True), "peer"),
    _gauge("peer_behind_entries", "Entries of our feed a peer's heartbeats have not confirmed.",
           _peer(lambda m: m["behind_us"]), "peer"),
    _gauge("peer_ahead_entries", "Entries of a peer's feed that we have not applied.",
           _peer(lambda m: m["we_are_behind"]), "peer"),
    _gauge("peer_heard_seconds", "Time since a peer was last heard.",
           _peer(lambda m: m["heard_s"]), "peer"),
    _gauge("peer_clock_skew_seconds", "By how much a peer's clock is ahead of ours.",
           _peer(lambda m: m["clock_skew_ms"] / 1000), "peer"),
    _gauge("sessions", "Live sessions in the replica.", _value("sessions")),
    _gauge("tombstones", "Ended sessions kept until no copy can be alive.", _value("tombstones")),
    _gauge("replica_bytes", "Space that the replica uses.", _value("replica_bytes")),
    _gauge("map_limit_bytes", "Space there is, by map_bytes; 0: only memory bounds it.",
           _value("map_bytes")),
    _gauge("disk_free_bytes", "Space that is left where the replica is.",
           _value("disk_free_bytes")),
    _gauge("feed_entries", "Sessions in this node's feed.", _value("feed_entries")),
    _gauge("feed_head", "The number of this node's last write.", _value("feed_head")),
    _gauge("snapshot_loaded_sessions", "Sessions that the last snapshot has brought so far.",
           _value("snapshot", "loaded")),
    _gauge("snapshot_wanted_sessions", "Sessions that the donor of the last snapshot held.",
           _value("snapshot", "total")),
    _work("commits", "commits", "Requests that stored something"),
    _histogram("commit", "How long workers took to commit to this node's replica."),
    _histogram("confirm", "How long workers waited until others held a write."),
    _histogram("fetch", "How long workers waited for a session that was not here."),
    _work("sessions_created", "created", "Sessions begun here, those under a new id included"),
    _counter("sessions_ended", "Sessions ended by workers here, by reason.", _ended, "reason"),
    _work("touches", "touches", "Requests that only moved the time of the last access"),
    _work("failovers", "failovers", "Requests served for a node that is not there, and moved here"),
    _work("strayed", "strayed", "Requests that came here though their node serves"),
    _work("lost_writes", "lost_writes", "Writes dropped because the session had ended meanwhile"),
    _work("late_new_sessions", "late_new_sessions", "Sessions begun too late for a cookie"),
    _work("refused_new_sessions", "refused_new_sessions",
          "Sessions not begun because too many others were"),
    _work("replica_full_writes", "replica_full", "Writes not stored for lack of space"),
    _work("decode_errors", "decode_errors", "Attributes that could not be read"),
    _work("fetches", "fetches", "Questions to the peers for a session that was not here"),
    _work("fetches_found", "fetched", "Such questions that found the session"),
    _work("unconfirmed_writes", "unconfirmed", "Writes that were not confirmed in time"),
    _work("stale_reads", "stale_reads", "Reads that lagged behind what the client had seen"),
    _counter("changes_applied", "Changes of peers that were merged here.", _value("applied")),
    _counter("gaps_repaired", "Times that changes of a peer had to be asked for again.",
             _value("gaps_repaired")),
    _counter("sessions_repaired", "Sessions brought by anti-entropy.",
             _value("sessions_repaired")),
    _gauge("carrier", "1 for how our changes travel now.", _carrier, "carrier"),
    _gauge("journal_up", "Whether the journal is kept; nothing where it is not to be.",
           _journal_up),
    _gauge("journal_bytes", "Space that the journal uses.", _value("journal", "bytes")),
    _gauge("journal_longest_sync_seconds", "The longest time that the disk took for it.",
           _longest_sync),
    _counter("journal_failures", "Times that the disk did not take it.",
             _value("journal", "failures")),
    _counter("journal_rewritings", "Times that it was written anew.",
             _value("journal", "rewritings")),
    _gauge("recovery_waiting", "Whether sessions from before a power cut wait for members.",
           _recovery_waits),
    _counter("recovered_changes", "Changes brought back from the journal.",
             _value("recovery", "merged")),
    _gauge("store_up", "Whether the store is reached.", _store_up),
    _gauge("store_full", "Whether the store has no space for something of ours.", _store_full),
    _gauge("store_refused_sessions", "Sessions that the store had no space for, up to 4096.",
           _value("store", "refused")),
    _gauge("store_round_trip_seconds", "How long the store takes to answer, lately.",
           _store_round_trip),
    _gauge("store_behind_entries", "Entries of our feed that the store may lack.",
           _value("store", "behind")),
    _gauge("store_slow", "Whether requests that ask the store get their answer too late.",
           _value("store", "slow")),
    _gauge("store_oldest_waiting_seconds", "Age of the oldest change that the store may lack.",
           _store_oldest),
    _gauge("store_memory_bytes", "Memory that the store uses.", _value("store", "memory_bytes")),
    _gauge("store_memory_limit_bytes", "Its maxmemory; 0: none.",
           _value("store", "memory_bytes_max")),
    _counter("store_dropped_keys", "Keys that the store was seen to drop for want of memory.",
             _value("store", "dropped")),
    _counter("store_errors", "Times that the store was lost or not to be had.",
             _each("store", "errors"), "kind"),
    _counter("store_refreshed_sessions", "Copies here that were brought up to date.",
             _value("store", "refreshed")),
    _counter("store_cache_evicted_sessions", "Sessions that left this host, as the store has them.",
             _value("store", "evicted")),
    _counter("store_cache_evicted_early_sessions", "Of these, for near_cache_bytes_max alone.",
             _value("store", "evicted_early")),
    _gauge("store_cache_limit_bytes", "near_cache_bytes_max, where sessions leave for the store.",
           _value("store", "near_cache_bytes_max")),
    _counter("store_reached", "Times that the store was reached.", _value("store", "reached")),
    _counter("store_pushed_sessions", "Sessions, or parts of them, sent to the store.",
             _value("store", "pushed")),
    _counter("store_read_sessions", "Sessions asked for in the store.", _value("store", "read")),
    _counter("store_changes", "Changes by other nodes that the store told of.",
             _value("store", "changes")),
    _counter("datagrams_sent", "Datagrams sent to the group.", _value("datagrams", "sent")),
    _counter("datagrams_failed", "Datagrams that could not be sent.",
             _value("datagrams", "failed")),
    _counter("datagrams_received", "Datagrams received from the group, our own included.",
             _value("datagrams", "received")),
    _counter("datagrams_dropped", "Datagrams that were not accepted.",
             _each("datagrams", "dropped"), "reason"),
    _counter("direct_changes", "Changes that workers of other nodes sent here themselves.",
             _each("direct", "changes"), "outcome"),
    _counter("connections_refused", "Incoming connections that did not prove to be peers.",
             _each("connections_refused"), "reason"),
    _counter("events", "Events of the agent by name, those included that were not logged.",
             _each("events"), "event"),
    _counter("session_events_unheard", "Events of sessions that no worker could take.",
             _value("events_unheard")),
    _counter("sweeps", "Looks for expired sessions.", _value("sweeps")),
    _counter("sessions_swept", "Sessions removed because their time was over.",
             _value("sessions_swept")),
    Metric("process_cpu_seconds", "counter", "Processor time of the agent.", (),
           _value("process", "cpu_s")),
    Metric("process_resident_memory_bytes", "gauge", "Memory of the agent.", (),
           _value("process", "resident_bytes")),
    Metric("process_start_time_seconds", "gauge", "When the agent's process started.", (),
           _started),
    Metric("process_open_fds", "gauge", "Open file descriptors of the agent.", (),
           _value("process", "fds")),
    Metric("process_max_fds", "gauge", "How many file descriptors the agent may open.", (),
           _value("process", "fds_max")),
)
