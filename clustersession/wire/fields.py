"""Packs the fields of messages, each of one of these kinds, and unpacks them checked.

Every length is bounded before it is believed; what does not fit is refused with WireError.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, field
from functools import lru_cache
from typing import Any, NamedTuple

from clustersession.core.digest import BUCKETS
from clustersession.core.errors import WireError
from clustersession.core.feed import Cursor
from clustersession.core.identity import NODE_ID_BYTES, Address, Identity, Phase, is_ip_address
from clustersession.core.ids import is_route
from clustersession.core.state import SessionState, shared
from clustersession.wire.records import (
    KEY_LENGTH_MAX,
    NODES_MAX,
    checked_key,
    decode_batch,
    decode_copy,
    decode_state,
    encode_batch,
    encode_state,
)

MEMBERS_MAX = 256
KEYS_MAX = 4096
LISTED_MAX = 8192
MESSAGE_BYTES_MAX = 16 * 2**20
_UINT_MAX = 2**63 - 1
_PHASES = frozenset(Phase)


class Kind(NamedTuple):
    """Says how a field goes into a msgpack structure and, checked, comes out of it."""

    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _uint(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _UINT_MAX:
        raise WireError("a number is out of range")
    return value


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise WireError("a flag is neither true nor false")
    return value


def _node(value: Any) -> bytes:
    if type(value) is not bytes or len(value) != NODE_ID_BYTES:
        raise WireError("a node id is malformed")
    return value


def _text(length_max: int) -> Callable[[Any], str]:
    def unpack(value: Any) -> str:
        if type(value) is not str or len(value) > length_max:
            raise WireError("a text is malformed or too long")
        return value

    return unpack


_HOST = _text(64)


def _bytes(length_max: int) -> Callable[[Any], bytes]:
    def unpack(value: Any) -> bytes:
        if type(value) is not bytes or len(value) > length_max:
            raise WireError("a byte string is malformed or too long")
        return value

    return unpack


def _list(value: Any, length_max: int) -> list[Any]:
    if type(value) is not list or len(value) > length_max:
        raise WireError("a list is malformed or too long")
    return value


def _row(value: Any, length: int) -> list[Any]:
    if type(value) is not list or len(value) < length:
        raise WireError("a row has too few fields")
    # What follows is of a later version.
    return value[:length]


def _address(value: Any, port_min: int = 1) -> Address:
    host, port = _row(value, 2)
    if type(port) is not int or not port_min <= port < 65536:
        raise WireError("a port is out of range")
    # No names: gossip must not make us ask a resolver.
    if not _is_ip_address(_HOST(host)) or not host.isprintable():
        # The zone of an IPv6 address may be any text, a line of a log too.
        raise WireError("a host is no IP address")
    return Address(host, port)


# The same few hosts come with every heartbeat, and parsing is the dearest part of those.
_is_ip_address = lru_cache(1024)(is_ip_address)


def _identity(value: Any, port_min: int = 1) -> Identity:
    node, incarnation, route, address = _row(value, 4)
    if type(route) is not str or not is_route(route):
        raise WireError("a route is malformed")
    return Identity(_node(node), _uint(incarnation), route, _address(address, port_min))


def _member(value: Any) -> Identity:
    # Beside a store nobody listens.
    return _identity(value, port_min=0)


def _pack_identity(identity: Identity) -> list[Any]:
    return [identity.node, identity.incarnation, identity.route, list(identity.address)]


def _phase(value: Any) -> Phase:
    number = _uint(value)
    # The node of a later version is there, but what it is doing is not to be relied on.
    return Phase(number) if number in _PHASES else Phase.JOINING


def _cursor(value: Any) -> Cursor:
    floor, position = _row(value, 2)
    return Cursor(_uint(floor), _uint(position))


def _cursors(value: Any) -> dict[bytes, Cursor]:
    rows = (_row(item, 3) for item in _list(value, NODES_MAX))
    return {_node(node): _cursor([floor, position]) for node, floor, position in rows}


def _versions(value: Any) -> dict[bytes, int]:
    rows = (_row(item, 2) for item in _list(value, NODES_MAX))
    return {_node(node): _uint(seq) for node, seq in rows}


def _pack_versions(versions: Mapping[bytes, int]) -> list[Any]:
    return [[node, seq] for node, seq in versions.items()]


class Entry(NamedTuple):
    """Lists a session for anti-entropy: its key, the writes it contains, when it expires."""

    key: str
    versions: Mapping[bytes, int]
    expires_ms: int


def _entry(value: Any) -> Entry:
    key, versions, expires_ms = _row(value, 3)
    return Entry(checked_key(key), _versions(versions), _uint(expires_ms))


class Past(NamedTuple):
    """Says what a node was before the power went, for those that were then its fellow members.

    former: the node ids of its former lives of which it has every end. loaded: these ends are in
    its replica. requires: whose ends it must have before it serves what it recovered; empty once
    that is over. dismissed: who will not come back, by an operator's word.
    """

    former: tuple[bytes, ...] = ()
    loaded: bool = True
    requires: tuple[bytes, ...] = ()
    dismissed: tuple[bytes, ...] = ()

    @property
    def is_over(self) -> bool:
        """Tell whether the node serves what it has."""
        return self.loaded and not self.requires


NO_PAST = Past()
"""What stands for the past of a node that tells none: it never lost its replica, or all of it."""


def _past(value: Any) -> Past | None:
    if value is None:
        return None
    former, loaded, requires, dismissed = _row(value, 4)
    return Past(_nodes(former), _bool(loaded), _nodes(requires), _nodes(dismissed))


def _pack_past(past: Past | None) -> list[Any] | None:
    if past is None:
        return None
    return [list(past.former), past.loaded, list(past.requires), list(past.dismissed)]


def _sessions(value: Any) -> tuple[tuple[str, SessionState], ...]:
    rows = (_row(item, 2) for item in _list(value, KEYS_MAX))
    return tuple((checked_key(key), decode_copy(_state_bytes(data))) for key, data in rows)


_state_bytes = _bytes(MESSAGE_BYTES_MAX)


def _optional_state(value: Any) -> SessionState | None:
    return None if value is None else decode_state(_state_bytes(value))


def _tuple_of(unpack: Callable[[Any], Any], length_max: int) -> Callable[[Any], tuple[Any, ...]]:
    return lambda value: tuple(unpack(item) for item in _list(value, length_max))


_nodes = _tuple_of(_node, NODES_MAX)

UINT = Kind(_same, _uint)
BOOL = Kind(_same, _bool)
NODE = Kind(_same, _node)
KEY = Kind(_same, checked_key)
PLACE = Kind(_same, _text(KEY_LENGTH_MAX))
NAME = Kind(_same, _text(64))
DIGESTS = Kind(_same, _bytes(8 * BUCKETS))
ROOT = Kind(lambda v: v.to_bytes(8, "big"), lambda v: int.from_bytes(_bytes(8)(v)))
PHASE = Kind(int, _phase)
IDENTITY = Kind(_pack_identity, _identity)
MEMBER = Kind(_pack_identity, _member)
ADDRESS = Kind(list, _address)
ADDRESSES = Kind(lambda v: [list(a) for a in v], _tuple_of(_address, MEMBERS_MAX))
NODES = Kind(list, _nodes)
MAYBE_NODES = Kind(
    lambda v: None if v is None else list(v), lambda v: None if v is None else _nodes(v)
)
VERSIONS = Kind(_pack_versions, _versions)
MAYBE_VERSIONS = Kind(
    lambda v: None if v is None else _pack_versions(v),
    lambda v: None if v is None else _versions(v),
)
CURSOR = Kind(lambda c: [c.floor, c.position], _cursor)
CURSORS = Kind(lambda v: [[n, c.floor, c.position] for n, c in v.items()], _cursors)
SUSPICIONS = Kind(
    lambda v: [list(s) for s in v],
    _tuple_of(lambda item: (_node(_row(item, 2)[0]), _uint(item[1])), MEMBERS_MAX),
)
BATCH = Kind(encode_batch, lambda v: decode_batch(_state_bytes(v)))
# Whole copies go out here and nowhere else; deltas are made by ``delta_since``.
STATE = Kind(lambda v: None if v is None else encode_state(shared(v)), _optional_state)
SESSIONS = Kind(lambda v: [[key, encode_state(shared(state))] for key, state in v], _sessions)
KEYS = Kind(list, _tuple_of(checked_key, KEYS_MAX))
BUCKET_NUMBERS = Kind(list, _tuple_of(_uint, BUCKETS))
PAST = Kind(_pack_past, _past)
ENTRIES = Kind(
    lambda v: [[e.key, _pack_versions(e.versions), e.expires_ms] for e in v],
    _tuple_of(_entry, LISTED_MAX),
)


def kept_as(kind: Kind, default: Any = MISSING) -> Any:
    """Declare a dataclass field that travels as this kind.

    One that was appended to a message has a default, which stands for it in what older nodes send.
    """
    return field(default=default, metadata={"kind": kind})
