"""Decides whether the settings' values are valid, and says what is wrong with them.

The rules work on a mapping and not on ``Settings``, so that whoever collects values from several
sources can have every problem at once and say where each value came from.
"""

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple

from clustersession.core.identity import is_ip_address
from clustersession.core.ids import derive_route, is_route
from clustersession.settings.guessable import SECRET_LENGTH_MIN
from clustersession.settings.store_url import parse_store_url

SECRET_COMMAND = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'
COOKIE_NAME_LENGTH_MAX = 60
PORT_MAX = 65_535
# Half of what one message carries: writes on two nodes at once may double a session.
SESSION_BYTES_LIMIT = 8 * 2**20
NEAR_CACHE_BYTES_MIN = 2**20
_TEN_YEARS_S = 3650 * 86_400
_NO_ZONES = (
    "link-local IPv6 addresses (fe80::) mean another place on each interface, so they cannot be "
    "told to other hosts; use a global or a unique local address (fd00::/8)"
)
_HEADERS_OF_OTHERS = frozenset({
    "authorization", "connection", "content-length", "content-type", "cookie", "host", "set-cookie",
    "transfer-encoding", "vary",
})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

HIDDEN = frozenset({"secret", "dashboard_token", "legacy_cookie_secret", "store"})
"""Settings whose text never appears anywhere: it is a password, or has one in it."""

BOUNDS: dict[str, tuple[float, float]] = {
    "port": (1, PORT_MAX),
    "port_range": (1, 10_000),
    "multicast_port": (1, PORT_MAX),
    "multicast_ttl": (0, 255),
    "heartbeat_interval_s": (0.01, 60),
    "drop_time_s": (0.02, 3600),
    "store_replicas": (0, 16),
    "near_cache_idle_s": (0, _TEN_YEARS_S),
    "near_cache_bytes_max": (0, 2**46),
    "ack_timeout_s": (0.001, 60),
    "idle_timeout_s": (0, _TEN_YEARS_S),
    "absolute_timeout_s": (0, _TEN_YEARS_S),
    "anonymous_absolute_timeout_s": (0, _TEN_YEARS_S),
    "new_sessions_per_second_max": (0, 1_000_000),
    "lifetime_s_max": (1, _TEN_YEARS_S),
    "sessions_per_principal_max": (0, 10_000),
    "fetch_timeout_s": (0, 60),
    "cookie_max_age_s": (0, _TEN_YEARS_S),
    "agent_linger_s": (0, 3600),
    "drain_on_stop_s": (0, 3600),
    "metrics_port": (0, PORT_MAX),
    "map_bytes": (2**20, 2**46),
    "attribute_bytes_max": (64, SESSION_BYTES_LIMIT),
    "session_bytes_max": (64, SESSION_BYTES_LIMIT),
    "clock_skew_s_max": (1, 86_400),
    "join_timeout_s": (0, 3600),
    "repair_interval_s": (0.01, 3600),
    "recovery_wait_s": (0, 86_400),
}
"""The lowest and the highest value of each number, both allowed."""


class Problem(NamedTuple):
    """Names a setting that cannot work, and ends the sentence "<setting> is <value>; ...".

    other: the setting with whose value the advice ends.
    """

    setting: str
    advice: str
    other: str = ""


def problems_in(
    values: Mapping[str, Any],
    types: Mapping[str, str],
    choices: Mapping[str, tuple[str, ...]],
) -> list[Problem]:
    """Find everything that is wrong with a complete set of values, every problem at once.

    ``types`` names each setting's type, ``choices`` the words a setting may be. Rules on values are
    applied only when all types are right, relations only when each number is within its bounds.
    """
    mistyped = _mistyped(values, types)
    if mistyped:
        return mistyped
    bounds = _bounds(values)
    single = [*problems_of_single_values(values, choices), *_cluster(values), *_store(values),
              *_cookie(values), *_requests(values), *_dashboard(values)]
    return single if bounds else [*single, *_relations(values), *_near_cache(values)]


def problems_of_single_values(
    values: Mapping[str, Any], choices: Mapping[str, tuple[str, ...]]
) -> list[Problem]:
    """Find what is wrong with single values, whatever the others are. Their types are right."""
    return [*_bounds(values), *_choices(values, choices)]


def describe(problem: Problem, value: object, source: str = "") -> str:
    """Describe a problem in one line. The text of a secret never appears."""
    shown = "(hidden)" if problem.setting in HIDDEN else repr(value)
    origin = f" ({source})" if source else ""
    return f"{problem.setting} is {shown}{origin}; {problem.advice}"


def _mistyped(values: Mapping[str, Any], types: Mapping[str, str]) -> list[Problem]:
    problems: list[Problem] = []
    for name, kind in types.items():
        value = values[name]
        if kind == "tuple":
            if not isinstance(value, tuple) or not all(isinstance(item, str) for item in value):
                problems.append(Problem(name, "it must be a list of texts"))
        elif kind == "bool":
            if not isinstance(value, bool):
                problems.append(Problem(name, "it must be true or false"))
        elif kind == "str":
            if not isinstance(value, str):
                problems.append(Problem(name, "it must be a text"))
        elif isinstance(value, bool) or not isinstance(value, int | float):
            problems.append(Problem(name, "it must be a number"))
        elif kind == "int" and not isinstance(value, int):
            problems.append(Problem(name, "it must be a whole number"))
    return problems


def _bounds(v: Mapping[str, Any]) -> list[Problem]:
    return [
        Problem(name, f"it must be between {low:,} and {high:,}")
        for name, (low, high) in BOUNDS.items()
        # Written so that NaN, which compares false with everything, is refused as well.
        if not low <= v[name] <= high
    ]


def _choices(v: Mapping[str, Any], choices: Mapping[str, tuple[str, ...]]) -> list[Problem]:
    return [
        Problem(name, f"it must be one of {', '.join(map(repr, allowed))}")
        for name, allowed in choices.items()
        if v[name] not in allowed
    ]


def _cluster(v: Mapping[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", v["cluster_name"]) is None:
        problems.append(Problem("cluster_name", "it must be 1 to 64 of A-Z a-z 0-9 _ . -"))
    if v["route"] and not is_route(v["route"]):
        problems.append(Problem(
            "route", "it must be 1 to 32 of the characters A-Z a-z 0-9 _ (balancers cut at a dot, "
            f"nginx stops at a hyphen); for example {derive_route(v['route'])!r}",
        ))
    if any(len(secret) < SECRET_LENGTH_MIN for secret in v["secret"]):
        problems.append(Problem(
            "secret", f"every secret needs at least {SECRET_LENGTH_MIN} characters; make one with "
            f"{SECRET_COMMAND}",
        ))
    if v["state_dir"] and not v["state_dir"].startswith("/"):
        problems.append(Problem("state_dir", "it must be an absolute path"))
    problems += _certificates(v)
    problems += _addresses(v)
    if v["multicast_address"] and not _is_multicast(v["multicast_address"]):
        problems.append(Problem(
            "multicast_address", "it must be an IPv4 multicast address, 224.0.0.0 to "
            "239.255.255.255, or empty for no multicast",
        ))
    for seed in v["seeds"]:
        host = seed.rpartition(":")[0].strip("[]")
        if is_ip_address(host) and _needs_zone(host):
            problems.append(Problem("seeds", f"{seed!r}: {_NO_ZONES}"))
        elif not _is_seed(seed):
            problems.append(Problem(
                "seeds", f"{seed!r} must have the form 'host:port', '[IPv6 address]:port' or "
                "'dns:name:port'",
            ))
    return problems


def _store(v: Mapping[str, Any]) -> list[Problem]:
    if not v["store"]:
        return []
    try:
        parse_store_url(v["store"])
    except ValueError as error:
        return [Problem("store", str(error))]
    if not v["distributable"]:
        return [Problem("store", "it takes the place of peers, so set distributable to true")]
    if v["durability"] not in ("", "none"):
        return [Problem(
            "durability", "with a store nothing is kept on this host's disk, because the store is "
            "what lasts: leave it out, and see to the store's own persistence"
        )]
    return []


def _near_cache(v: Mapping[str, Any]) -> list[Problem]:
    if 0 < v["near_cache_bytes_max"] < NEAR_CACHE_BYTES_MIN:
        return [Problem(
            "near_cache_bytes_max", f"it must be 0 or at least {NEAR_CACHE_BYTES_MIN}"
        )]
    if not v["store"] or v["near_cache_bytes_max"] <= v["map_bytes"]:
        return []
    return [Problem(
        "near_cache_bytes_max", f"it must not exceed map_bytes, which is {v['map_bytes']}",
        "map_bytes",
    )]


def _addresses(v: Mapping[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    if v["bind"] != "auto":
        if not is_ip_address(v["bind"]):
            problems.append(Problem("bind", "it must be 'auto' or an IP address of this host"))
        elif _needs_zone(v["bind"]):
            problems.append(Problem("bind", _NO_ZONES))
    if not is_ip_address(v["metrics_bind"]):
        problems.append(Problem("metrics_bind", "it must be an IP address of this host"))
    elif _needs_zone(v["metrics_bind"]):
        problems.append(Problem("metrics_bind", _NO_ZONES))
    problems += _host_names("metrics_hosts", v["metrics_hosts"])
    if v["advertise"]:
        host, port = split_address(v["advertise"])
        if not is_ip_address(host) or ip_address(host).is_unspecified or _is_multicast(host):
            problems.append(Problem(
                "advertise", "it must be an IP address that peers can connect to, or 'address:port'"
                ", an IPv6 address in brackets before a port",
            ))
        elif _needs_zone(host):
            problems.append(Problem("advertise", _NO_ZONES))
        elif port is not None and not 1 <= port <= PORT_MAX:
            problems.append(Problem("advertise", f"the port must be between 1 and {PORT_MAX}"))
    return problems


def split_address(text: str) -> tuple[str, int | None]:
    """Split "address", "address:port" or "[IPv6 address]:port"; None: there is no port.

    What is neither comes back whole as the host, for the caller to refuse.
    """
    match = re.fullmatch(r"(?:\[([^\]]*)\]|([^:]*)):([0-9]{1,6})", text)
    if match is None:
        return text, None
    return match[1] or match[2], int(match[3])


def _needs_zone(text: str) -> bool:
    """Tell whether an address means another place on each interface."""
    address = ip_address(text)
    return address.version == 6 and address.is_link_local


def _certificates(v: Mapping[str, Any]) -> list[Problem]:
    names = ("tls_certificate", "tls_key", "tls_ca")
    if not any(v[name] for name in names):
        return []
    return [
        # The agent may run in another directory than the application.
        Problem(name, "it must be an absolute path")
        if v[name]
        else Problem(name, f"{', '.join(names)} must be given all three or not at all")
        for name in names
        if not v[name].startswith("/")
    ]


def _cookie(v: Mapping[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    name, secure = v["cookie_name"], v["cookie_secure"]
    if _TOKEN.fullmatch(name) is None or len(name) > COOKIE_NAME_LENGTH_MAX:
        problems.append(Problem(
            "cookie_name", f"it must be 1 to {COOKIE_NAME_LENGTH_MAX} letters, digits and any of "
            "!#$%&'*+-.^_`|~ (RFC 6265; mod_jk reads no longer name)",
        ))
    if name.startswith(("__Host-", "__Secure-")) and not secure:
        problems.append(Problem(
            "cookie_name", "browsers take a name with this prefix only from a secure cookie; set "
            "cookie_secure to true",
        ))
    if name.startswith("__Host-") and (v["cookie_path"] != "/" or v["cookie_domain"]):
        problems.append(Problem(
            "cookie_name", "browsers take __Host- only with cookie_path '/' and no cookie_domain"
        ))
    if v["cookie_samesite"] == "none" and not secure:
        problems.append(Problem(
            "cookie_samesite", "browsers drop such a cookie unless it is secure; set cookie_secure "
            "to true",
        ))
    if v["cookie_partitioned"] and not secure:
        problems.append(Problem(
            "cookie_partitioned", "browsers drop such a cookie unless it is secure; set "
            "cookie_secure to true",
        ))
    if re.fullmatch(r"/[\x20-\x3a\x3c-\x7e]*", v["cookie_path"]) is None:
        problems.append(Problem("cookie_path", "it must begin with / and hold no semicolon"))
    if v["cookie_domain"] and re.fullmatch(r"\.?[A-Za-z0-9.-]{1,253}", v["cookie_domain"]) is None:
        problems.append(Problem("cookie_domain", "it must be a host name"))
    return problems


def _requests(v: Mapping[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    if v["legacy_cookie_name"] and _TOKEN.fullmatch(v["legacy_cookie_name"]) is None:
        problems.append(Problem(
            "legacy_cookie_name", "it must be the name that the old session cookie has"
        ))
    if v["ready_path"] and re.fullmatch(r"/[A-Za-z0-9/._~-]*", v["ready_path"]) is None:
        problems.append(Problem(
            "ready_path", "it must begin with / and hold letters, digits and any of / . _ ~ - only"
        ))
    if v["header_name"] and _TOKEN.fullmatch(v["header_name"]) is None:
        problems.append(Problem("header_name", "it must be the name of an HTTP header"))
    if v["header_name"].lower() in _HEADERS_OF_OTHERS:
        problems.append(Problem("header_name", "this header has a meaning of its own; make up one"))
    if v["url_parameter"] and re.fullmatch(r"[A-Za-z0-9_-]{1,60}", v["url_parameter"]) is None:
        problems.append(Problem("url_parameter", "it must be 1 to 60 of A-Z a-z 0-9 _ -"))
    for name in ("exclude", "local_attributes"):
        for pattern in v[name]:
            try:
                re.compile(pattern)
            except (re.error, OverflowError) as error:
                problems.append(Problem(
                    name, f"{pattern!r} is no regular expression: {error}; for all that ends in "
                    ".css write '.*\\.css'",
                ))
    return problems


def _dashboard(v: Mapping[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    if v["dashboard_token"] and len(v["dashboard_token"]) < SECRET_LENGTH_MIN:
        problems.append(Problem(
            "dashboard_token", f"it needs at least {SECRET_LENGTH_MIN} characters; make one with "
            f"{SECRET_COMMAND}",
        ))
    if v["dashboard_token"] and v["dashboard_token"] in v["secret"]:
        problems.append(Problem(
            "dashboard_token", "people type it in, so it must not be the cluster's secret"
        ))
    problems += _host_names("dashboard_hosts", v["dashboard_hosts"])
    return problems


def _host_names(setting: str, hosts: Iterable[str]) -> list[Problem]:
    return [
        Problem(setting, f"{host!r} must be a host name or an IP address, without a port")
        for host in hosts
        if not is_ip_address(host) and re.fullmatch(r"[A-Za-z0-9._-]{1,253}", host) is None
    ]


def _relations(v: Mapping[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    if v["drop_time_s"] < 2 * v["heartbeat_interval_s"]:
        problems.append(Problem(
            "drop_time_s", "one lost heartbeat would remove a member; it must be at least twice "
            f"heartbeat_interval_s, which is {v['heartbeat_interval_s']}",
        ))
    if 0 < v["absolute_timeout_s"] < v["idle_timeout_s"]:
        problems.append(Problem(
            "absolute_timeout_s", "it must be 0 (worked out) or at least idle_timeout_s, which is "
            f"{v['idle_timeout_s']}", "idle_timeout_s",
        ))
    if v["port"] + v["port_range"] - 1 > PORT_MAX:
        problems.append(Problem(
            "port_range", f"the last port, port + port_range - 1, must not pass {PORT_MAX}; port "
            f"is {v['port']}",
        ))
    if split_address(v["advertise"])[1] is not None and v["port_range"] != 1:
        problems.append(Problem(
            "advertise", "a port that peers are told belongs to one port that is listened on; set "
            f"port, and port_range to 1, which is {v['port_range']}",
        ))
    if v["port"] <= v["metrics_port"] < v["port"] + v["port_range"]:
        problems.append(Problem(
            "metrics_port", f"ports from {v['port']} to {v['port'] + v['port_range'] - 1} are for "
            "peers (port and port_range); choose another, for example 9464",
        ))
    if v["attribute_bytes_max"] > v["session_bytes_max"]:
        problems.append(Problem(
            "attribute_bytes_max", "it must not exceed session_bytes_max, which is "
            f"{v['session_bytes_max']}",
        ))
    if v["carrier"] == "multicast" and not v["multicast_address"]:
        problems.append(Problem(
            "carrier", "there is no multicast_address; name one or choose 'auto' or 'tcp'"
        ))
    return problems


def _is_multicast(text: str) -> bool:
    return is_ip_address(text) and ip_address(text).version == 4 and ip_address(text).is_multicast


def _is_seed(text: str) -> bool:
    host, _, port = text.removeprefix("dns:").rpartition(":")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= PORT_MAX):
        return False
    if host.startswith("[") and host.endswith("]"):
        return not text.startswith("dns:") and is_ip_address(host[1:-1])
    return re.fullmatch(r"[A-Za-z0-9._-]{1,253}", host) is not None
