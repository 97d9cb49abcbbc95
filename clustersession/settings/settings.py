"""Holds every setting in one frozen object, validated once, that the whole library reads.

Times are seconds. The names are the same as keyword argument, TOML key and, in capitals after
``CLUSTERSESSION_``, environment variable; ``settings.sources`` reads those, ``settings.rules``
judges them. To add a setting: a field and its line here (what may be chosen is its type), a row in
``docs/configuration.md``, and in ``settings.rules`` the bounds of a number, or what else to refuse.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Any, Literal, get_args, get_origin

from clustersession.core.derivation import derive
from clustersession.core.errors import ConfigurationError
from clustersession.settings.rules import Problem, describe, problems_in

Ack = Literal["none", "one", "all"]
AckFailure = Literal["degrade", "error"]
Rewrite = Literal["failover", "always", "never"]
Consistency = Literal["eventual", "causal"]
AgentMode = Literal["process", "thread", "external"]
LogFormat = Literal["text", "json"]
Carrier = Literal["auto", "multicast", "tcp"]
PrincipalPolicy = Literal["end_oldest", "refuse"]
EventsMode = Literal["once", "everywhere"]
Durability = Literal["none", "end", "second", ""]
SameSite = Literal["lax", "strict", "none", ""]

IDLE_TIMEOUT_S_DEFAULT = 1800.0
NEAR_CACHE_BYTES_DEFAULT = 1 * 2**30
ABSOLUTE_TIMEOUT_S_MIN_DEFAULT = 7 * 86_400.0
ANONYMOUS_TIMEOUT_S_MIN_DEFAULT = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Holds all settings with their defaults. Tomcat's name, where it has one, is in brackets.

    distributable: replicate to other hosts; off, the same code is a store shared by the host's
        workers.
    cluster_name: only nodes with the same name and secret see each other [domain].
    route: this node's name in the cookie [jvmRoute]; empty: derived from the host name.
    secret: cluster secrets; the first seals and signs, all of them open. Empty: see SECURITY.md.
    tls_certificate, tls_key, tls_ca: paths of PEM files, to use certificates of one's own between
        nodes; all three or none. Empty: derived from the secret.
    state_dir: where replicas live; each node makes its own directory inside. Empty: the user's
        state directory.
    bind: address of the TCP receiver and of the multicast interface [bind]; "auto": the address of
        the interface that reaches the multicast group.
    advertise: the address peers are told, "address" or "address:port", where it is not the one
        that is listened on. Empty: that one.
    port, port_range: first TCP port and how many to try [port, autoBind of the Receiver].
    multicast_address, multicast_port, multicast_ttl: the group; an empty address: no multicast
        [address, port, ttl of Membership].
    heartbeat_interval_s, drop_time_s: how often a node sends a heartbeat, and how long a silent
        member counts as alive [frequency, dropTime].
    seeds: "host:port" or "dns:name:port", where there is no multicast.
    store: the URL of a Valkey or Redis that holds all sessions in place of peers; for its forms see
        ``settings.store_url``. Empty: none.
    store_replicas: how many replicas of the store must hold a write before it counts as held.
    near_cache_idle_s, near_cache_bytes_max: with a store, how long a session stays on this node
        that nobody uses here (0: until it ends), and how large the replica may grow (0: to
        NEAR_CACHE_BYTES_DEFAULT, or half of map_bytes where that is less).
    carrier: how deltas travel; "auto" takes multicast when it is seen to reach three peers or
        more.
    ack: how many peers must confirm a write before the response starts; ack_timeout_s bounds the
        wait; ack_failure says what then.
    idle_timeout_s, absolute_timeout_s: a session ends after this long without a request (0: never
        for that reason), and in any case. An absolute timeout of 0 means the larger of 7 days and
        four idle timeouts.
    anonymous_absolute_timeout_s: the absolute timeout of sessions that have no principal and did
        not ask for a longer life. 0: the larger of a day and the idle timeout.
    new_sessions_per_second_max: how many sessions without a principal may begin in a second on a
        node, beyond a burst of ten seconds' worth (0: any number); others are not stored.
    lifetime_s_max: the longest ``session.lifetime`` that an application may ask for.
    sessions_per_principal_max, sessions_per_principal_policy: how many sessions a user may have at
        a time (0: any number), and whether one more ends the oldest or is refused.
    events: "once": an event is reported by the node that caused it; "everywhere": by each node
        [notifyListenersOnReplication].
    fetch_timeout_s: how long a request waits for peers when its session is not here, or may have
        ended on one while this node was away.
    cookie_*: the cookie.
    legacy_cookie_name: the cookie of the session store used before; what ``clustersession import``
        read of that store is exchanged for a session of ours, once. Empty: none.
    legacy_cookie_secret: keys that the old cookie is signed with, as Flask-Session did with
        SESSION_USE_SIGNER; other old cookies are then refused. Empty: it is not signed.
    header_name: for clients without cookies: the id is also read from this request header, and
        such clients are answered in it.
    url_parameter: also read the id from this path parameter, "/cart;jsessionid=<id>"; the
        application sees the path without it. Empty: none.
    exclude: regular expressions; a request whose path matches one in full has no session
        [filter of ReplicationValve].
    local_attributes: regular expressions; attributes whose name matches one in full stay on this
        node and are never sent [sessionAttributeNameFilter, which names those that *are* sent].
    rewrite: when the route in the cookie is replaced.
    consistency: "causal": a second cookie names the writes its client has seen, and a node that
        lacks them asks its peers before it answers.
    ready_path: a path answered by the middleware itself, 200 when users may be sent here and 503
        with the reason when not; for balancers. Empty: none.
    agent: "process": started by the first worker that needs it; "thread": inside this process;
        "external": somebody else runs ``clustersession agent``.
    metrics_bind, metrics_port: where the agent answers over HTTP with its metrics, for Prometheus,
        and whether it lives and is ready. A port of 0: nowhere.
    metrics_hosts: host names with dots under which the metrics may be asked for.
    tracing: each fetch, commit and confirmation is a span of OpenTelemetry, whose API must be
        installed then.
    log_format: "json": each line of the agent's log is an object.
    drain_on_stop_s: how long a worker goes on serving after SIGTERM, so that users move first.
    attribute_bytes_max, session_bytes_max: larger ones are refused in the request that wrote them.
    durability: what a journal on this node's disk keeps, so that it is there after a power cut of
        all nodes: "second": every change, on the disk within a second; "end": only that sessions
        have ended; "none": nothing. Empty: "second", and "none" with a store, which is what lasts.
    recovery_wait_s: how long sessions out of the journal wait for every node that might know that
        they have ended; then they are dropped.

    dashboard_token: what a person types in to see the status page; needed wherever others than this
        host can reach it.
    dashboard_hosts: host names, besides loopback, under which the status page may be reached.
    dashboard_values: whether the status page may show what a session holds.

    Raises ConfigurationError with one line for every value that cannot work.
    """

    distributable: bool = False
    cluster_name: str = "clustersession"
    route: str = ""
    secret: tuple[str, ...] = field(default=(), repr=False)
    tls_certificate: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    state_dir: str = ""
    bind: str = "auto"
    advertise: str = ""
    port: int = 4000
    port_range: int = 100
    multicast_address: str = "228.0.0.4"
    multicast_port: int = 45564
    multicast_ttl: int = 1
    heartbeat_interval_s: float = 0.5
    drop_time_s: float = 3.0
    seeds: tuple[str, ...] = ()
    store: str = field(default="", repr=False)
    store_replicas: int = 0
    near_cache_idle_s: float = 3600.0
    near_cache_bytes_max: int = 0
    carrier: Carrier = "auto"
    ack: Ack = "one"
    ack_timeout_s: float = 1.0
    ack_failure: AckFailure = "degrade"
    idle_timeout_s: float = IDLE_TIMEOUT_S_DEFAULT
    absolute_timeout_s: float = 0.0
    anonymous_absolute_timeout_s: float = 0.0
    new_sessions_per_second_max: int = 500
    lifetime_s_max: float = 90 * 86_400.0
    sessions_per_principal_max: int = 0
    sessions_per_principal_policy: PrincipalPolicy = "end_oldest"
    events: EventsMode = "once"
    fetch_timeout_s: float = 0.25
    cookie_name: str = "CLUSTERSESSION"
    cookie_path: str = "/"
    cookie_domain: str = ""
    cookie_secure: bool = False
    cookie_httponly: bool = True
    cookie_samesite: SameSite = "lax"
    cookie_partitioned: bool = False
    cookie_max_age_s: int = 0
    legacy_cookie_name: str = ""
    legacy_cookie_secret: tuple[str, ...] = field(default=(), repr=False)
    header_name: str = ""
    url_parameter: str = ""
    exclude: tuple[str, ...] = ()
    local_attributes: tuple[str, ...] = ()
    rewrite: Rewrite = "failover"
    consistency: Consistency = "eventual"
    ready_path: str = ""
    agent: AgentMode = "process"
    agent_linger_s: float = 5.0
    drain_on_stop_s: float = 0.0
    metrics_bind: str = "127.0.0.1"
    metrics_port: int = 0
    metrics_hosts: tuple[str, ...] = ()
    tracing: bool = False
    log_format: LogFormat = "text"
    map_bytes: int = 16 * 2**30
    attribute_bytes_max: int = 1 * 2**20
    session_bytes_max: int = 4 * 2**20
    clock_skew_s_max: float = 300.0
    join_timeout_s: float = 60.0
    repair_interval_s: float = 5.0
    durability: Durability = ""
    recovery_wait_s: float = 600.0
    dashboard_token: str = field(default="", repr=False)
    dashboard_hosts: tuple[str, ...] = ()
    dashboard_values: bool = False

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in setting_names()}
        problems = find_problems(values)
        if problems:
            raise ConfigurationError(
                "\n".join(describe(problem, values[problem.setting]) for problem in problems)
            )

    @property
    def waits_for_peers(self) -> bool:
        """Tell whether a commit may have to wait until others hold it."""
        return self.distributable and self.ack != "none"

    @property
    def effective_near_cache_idle_s(self) -> float:
        """Return after how much idle time a session leaves for the store; 0 for never."""
        return self.near_cache_idle_s if self.store else 0.0

    @property
    def effective_near_cache_bytes_max(self) -> int:
        """Return how large the replica may grow beside a store, with the default worked out."""
        return self.near_cache_bytes_max or min(NEAR_CACHE_BYTES_DEFAULT, self.map_bytes // 2)

    @property
    def effective_durability(self) -> str:
        """Return what the journal keeps, with its default worked out."""
        return "none" if self.store else self.durability or "second"

    @property
    def store_marks(self) -> tuple[str, ...]:
        """Return what tells this store from another and shows nothing of it, by each secret."""
        keys = (derive(s.encode(), "which store", self.cluster_name) for s in self.secret)
        marks = (hmac.digest(key, self.store.encode(), sha256)[:8].hex() for key in keys)
        return tuple(marks) if self.store else ("",)

    @property
    def store_secrets_mark(self) -> str:
        """Return what tells the secrets for a store from others, as ``store_marks`` does it."""
        if not self.store:
            return ""
        key = derive(self.secret[0].encode(), "which secrets", self.cluster_name)
        return hmac.digest(key, "\0".join(self.secret).encode(), sha256)[:8].hex()

    @property
    def effective_absolute_timeout_s(self) -> float:
        """Return the absolute timeout with its default worked out."""
        if self.absolute_timeout_s:
            return self.absolute_timeout_s
        return max(ABSOLUTE_TIMEOUT_S_MIN_DEFAULT, 4 * self.idle_timeout_s)

    @property
    def effective_anonymous_absolute_timeout_s(self) -> float:
        """Return the absolute timeout of a session without a principal: at most that of others."""
        chosen_s = self.anonymous_absolute_timeout_s
        return min(
            chosen_s or max(ANONYMOUS_TIMEOUT_S_MIN_DEFAULT, self.idle_timeout_s),
            self.effective_absolute_timeout_s,
        )

    @property
    def longest_life_s(self) -> float:
        """Return how long any session may live, whatever it asked for."""
        return max(self.effective_absolute_timeout_s, self.lifetime_s_max)

    @property
    def stamp_lead_ms_max(self) -> int:
        """Return how far ahead of our clock a stamp may be: twice as far as a peer's clock.

        A peer within the bound may pass on stamps of one that is as far ahead of it again.
        """
        return 2 * round(self.clock_skew_s_max * 1000)


def setting_names() -> tuple[str, ...]:
    """Return every setting's name, in the order of the documentation."""
    return tuple(f.name for f in fields(Settings))


SETTING_TYPES: dict[str, str] = {
    each.name: type(each.default).__name__ for each in fields(Settings)
}
"""Per setting: bool, int, float, str, or tuple (of texts)."""

CHOICES: dict[str, tuple[str, ...]] = {
    each.name: get_args(each.type)
    for each in fields(Settings)
    if get_origin(each.type) is Literal
}
"""The settings that are one of a few words."""


def find_problems(values: Mapping[str, Any]) -> list[Problem]:
    """Find everything that is wrong with a complete set of values, every problem at once."""
    return problems_in(values, SETTING_TYPES, CHOICES)
