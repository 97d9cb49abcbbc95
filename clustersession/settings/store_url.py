"""Reads the setting ``store``: where a Valkey or Redis is, and how to be let in.

==========================================================  =====================================
valkey://user:password@host:6379/0                          one server; redis:// is the same
valkeys://host?ca=/etc/ca.pem                               over TLS; rediss:// is the same
unix:///run/valkey/valkey.sock?db=0                         through a socket of this host
valkey+sentinel://h1:26379,h2:26379/mymaster/0              the primary that Sentinels name
valkey+cluster://h1,h2:6380                                 a Cluster, found by any of its servers
==========================================================  =====================================
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl, unquote

STORE_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
SOCKET_BYTES_MAX: Final = 103  # what the systems with the least keep for such a path
DATABASE_MAX: Final = 65_535
FORM: Final = (
    "write valkey://user:password@host:6379/0, valkeys:// for TLS, unix:///path/of/socket, "
    "valkey+sentinel://host1,host2/name-of-the-primary/0 or valkey+cluster://host1,host2; a "
    "character of user or password that is not a letter or digit as %xx"
)
_SCHEME = re.compile(r"(valkey|valkeys|redis|rediss)(?:\+(sentinel|cluster))?|(unix)")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]{1,253}))(?::([0-9]{1,5}))?")
_PATHS = ("ca", "certificate", "key", "password_file")
_OPTIONS = frozenset({*_PATHS, "db", "sentinel_user", "sentinel_password"})


class StoreKind(StrEnum):
    """Says how the server is found that holds a key."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class StoreAddress(tuple[str, int]):
    """Is host and port of a server; for a socket of this host its path, and 0."""

    __slots__ = ()

    def __str__(self) -> str:
        host, port = self
        if not port:
            return host
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUrl:
    """Holds what a URL of a store says.

    addresses: of the server, of the Sentinels, or of some servers of the Cluster.
    primary: the name by which Sentinels know it. password_file: read at each connection, so that a
    new password needs no restart; it takes the place of ``password``.
    ca: who signs the server's certificate, empty for whom the system trusts. certificate, key: what
    we show, empty for nothing.
    """

    kind: StoreKind
    addresses: tuple[StoreAddress, ...]
    tls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    password_file: str = ""
    db: int = 0
    primary: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""
    sentinel_user: str = ""
    sentinel_password: str = field(default="", repr=False)

    @property
    def where(self) -> str:
        """Tell people where it is, without user and passwords."""
        addresses = ", ".join(map(str, self.addresses))
        match self.kind:
            case StoreKind.SENTINEL:
                return f"{self.primary} of the Sentinels {addresses}"
            case StoreKind.CLUSTER:
                return f"the Cluster of {addresses}"
        return addresses


def parse_store_url(text: str) -> StoreUrl:
    """Read a URL. Raises ValueError that says what to write, and repeats nothing of a password."""
    scheme, separator, rest = text.partition("://")
    match = _SCHEME.fullmatch(scheme.lower())
    if match is None or not separator:
        raise ValueError(f"{_what_begins_it(scheme, separator)}; {FORM}")
    rest, _, query = rest.partition("?")
    options = _options(query)
    login, _, place = rest.rpartition("@")
    user, colon, password = login.partition(":")
    if login and not colon and "password_file" not in options:
        raise ValueError("before the @ stand user:password, or :password without a user; " + FORM)
    kind = StoreKind(match[2] or "single")
    if match[3]:
        where: tuple[StoreAddress, ...] = (_socket(place),)
        primary, db = "", options.get("db", "")
    else:
        where, primary, db = _network(kind, place, options)
    tls = match[1] in ("valkeys", "rediss")
    _check_options(tls, kind, options)
    return StoreUrl(
        kind=kind, addresses=where, tls=tls, user=unquote(user), password=unquote(password),
        db=_database(kind, db), primary=primary,
        **{name: value for name, value in options.items() if name != "db"},
    )  # fmt: skip


def _what_begins_it(scheme: str, separator: str) -> str:
    """Say what is wrong with the scheme. What may be a password is not repeated."""
    if not separator:
        return "it has no ://"
    known = re.fullmatch(r"[A-Za-z+-]{1,20}", scheme)
    return f"{scheme}:// names no store" if known else "what stands before its :// names no store"


def _options(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise ValueError("what follows the ? must be name=value, joined by &") from None
    options = dict(pairs)
    if len(options) < len(pairs) or options.keys() - _OPTIONS:
        raise ValueError(f"after the ? may stand, once each: {', '.join(sorted(_OPTIONS))}")
    return options


def _check_options(tls: bool, kind: StoreKind, options: dict[str, str]) -> None:
    for name in _PATHS:
        if not options.get(name, "/").startswith("/"):
            raise ValueError(f"{name} must be an absolute path")
    if not tls and options.keys() & {"ca", "certificate", "key"}:
        raise ValueError("ca, certificate and key are for TLS: write valkeys:// instead")
    if ("certificate" in options) != ("key" in options):
        raise ValueError("certificate and key must be given both or not at all")
    if kind is not StoreKind.SENTINEL and options.keys() & {"sentinel_user", "sentinel_password"}:
        raise ValueError("sentinel_user and sentinel_password are for valkey+sentinel:// alone")


def _socket(place: str) -> StoreAddress:
    if not place.startswith("/") or place.endswith("/"):
        raise ValueError("after unix:// must stand the absolute path of a socket; " + FORM)
    path = unquote(place)
    if len(path.encode("utf-8", "surrogatepass")) > SOCKET_BYTES_MAX or "\0" in path:
        raise ValueError(f"the path of a socket must have at most {SOCKET_BYTES_MAX} bytes")
    return StoreAddress((path, 0))


def _network(
    kind: StoreKind, place: str, options: dict[str, str]
) -> tuple[tuple[StoreAddress, ...], str, str]:
    hosts, _, path = place.partition("/")
    port = SENTINEL_PORT if kind is StoreKind.SENTINEL else STORE_PORT
    addresses = tuple(_address(host, port) for host in hosts.split(","))
    if kind is StoreKind.SINGLE and len(addresses) > 1:
        raise ValueError("several hosts need valkey+sentinel:// or valkey+cluster://")
    primary = ""
    if kind is StoreKind.SENTINEL:
        primary, _, path = path.partition("/")
        if not re.fullmatch(r"[A-Za-z0-9._-]+", primary):
            raise ValueError(
                "after the Sentinels must stand the name that they watch the primary by, as in "
                "valkey+sentinel://host1,host2/mymaster/0"
            )
    if path and "db" in options:
        raise ValueError("the number of the database stands there twice: keep one of them")
    return addresses, primary, path or options.get("db", "")


def _address(text: str, default_port: int) -> StoreAddress:
    match = _HOST.fullmatch(text)
    if not text:
        raise ValueError("a host is missing, as in valkey://host:6379")
    port = int(match[3] or default_port) if match else 0
    if match is None or not 1 <= port <= 65_535:
        raise ValueError(
            "a host must be a name or an IP address, an IPv6 address in brackets; a port of 1 to "
            f"65535 may follow behind a colon, without one it is {default_port}"
        )
    return StoreAddress((match[1] or match[2], port))


def _database(kind: StoreKind, text: str) -> int:
    if not re.fullmatch(r"[0-9]{0,5}", text) or int(text or 0) > DATABASE_MAX:
        raise ValueError("the last part of the URL must be the number of a database, as in /0")
    if kind is StoreKind.CLUSTER and int(text or 0):
        raise ValueError("a Cluster has database 0 alone: leave the number away")
    return int(text or 0)
