"""Is every message between nodes, with its form in bytes.

A message is a msgpack array: its number, then its fields in order. Numbers and the order of fields
are append-only. Nodes of several versions understand each other: a field that was appended has a
default, which stands for it in older messages, and a decoder ignores fields at the end that it does
not know. It refuses with WireError what it cannot read. The same form travels in TCP frames and in
sealed datagrams.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import msgpack

from clustersession.core.errors import OtherVersion, WireError
from clustersession.core.feed import Batch, Cursor
from clustersession.core.identity import Address, Identity, Phase
from clustersession.core.state import SessionState
from clustersession.wire.fields import (
    ADDRESSES,
    BATCH,
    BOOL,
    BUCKET_NUMBERS,
    CURSOR,
    CURSORS,
    DIGESTS,
    ENTRIES,
    IDENTITY,
    KEY,
    KEYS,
    MAYBE_NODES,
    MAYBE_VERSIONS,
    MEMBER,
    MESSAGE_BYTES_MAX,
    NAME,
    NODE,
    NODES,
    PAST,
    PHASE,
    PLACE,
    ROOT,
    SESSIONS,
    STATE,
    SUSPICIONS,
    UINT,
    Entry,
    Kind,
    Past,
    kept_as,
)
from clustersession.wire.packed import unpack_plain

PROTOCOL_VERSION = 1
PROTOCOL_VERSION_MIN = 1
# No node speaks it: whoever says hello with it only wants to see ours, and becomes no member.
QUESTION_VERSION = 0
QUESTION = "it only asks who we are"


@dataclass(frozen=True, slots=True)
class Hello:
    """Opens a connection, from either side, and says who the sender is.

    ``version`` is the highest the node speaks, ``version_min`` the lowest.
    """

    version: int = kept_as(UINT)
    cluster_name: str = kept_as(NAME)
    identity: Identity = kept_as(IDENTITY)
    version_min: int = kept_as(UINT, default=PROTOCOL_VERSION_MIN)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Tells at short intervals that a node lives, and how far it is.

    ``head`` is its feed's head and ``multicast_head`` how much of it went out by multicast;
    ``cursors`` how far it has applied the others' feeds; ``heard`` whose multicast reaches it;
    ``suspects`` whom it suspects, in which incarnation; ``members`` where others listen (TCP only);
    ``direct`` that it takes changes from workers of others, by UDP at the port of its connections;
    ``past``: what it was before the power went (TCP only; None says nothing about it).
    """

    identity: Identity = kept_as(MEMBER)
    uptime_ms: int = kept_as(UINT)
    phase: Phase = kept_as(PHASE)
    serving: bool = kept_as(BOOL)
    wall_ms: int = kept_as(UINT)
    head: int = kept_as(UINT)
    multicast_head: int = kept_as(UINT)
    cursors: Mapping[bytes, Cursor] = kept_as(CURSORS)
    heard: tuple[bytes, ...] = kept_as(NODES)
    suspects: tuple[tuple[bytes, int], ...] = kept_as(SUSPICIONS)
    members: tuple[Address, ...] = kept_as(ADDRESSES)
    asks: bool = kept_as(BOOL)
    direct: bool = kept_as(BOOL, default=False)
    past: Past | None = kept_as(PAST, default=None)


@dataclass(frozen=True, slots=True)
class Changes:
    """Carries a part of the sender's feed.

    ``confirm``: somebody is to answer at once; ``confirmers`` are those who are, None: everybody.
    The others' next heartbeat will do.
    """

    batch: Batch = kept_as(BATCH)
    confirm: bool = kept_as(BOOL)
    confirmers: tuple[bytes, ...] | None = kept_as(MAYBE_NODES, default=None)


@dataclass(frozen=True, slots=True)
class Progress:
    """Tells how far the sender has applied the receiver's feed.

    ``resume``: send from here, again if need be. ``provisional``: we are still loading a snapshot,
    so only what follows this place is ours. ``known``, beside ``resume``: the highest place in the
    receiver's feed of which we have taken a change directly; it may lie beyond the cursor.
    """

    cursor: Cursor = kept_as(CURSOR)
    resume: bool = kept_as(BOOL)
    provisional: bool = kept_as(BOOL)
    known: int = kept_as(UINT, default=0)


@dataclass(frozen=True, slots=True)
class Fetch:
    """Asks for the receiver's copy of a session.

    ``known``: the writes that the sender's own copy contains, None: it has none. A copy with no
    others, and one that takes more than ``bytes_max``, is not sent; its versions are told.
    """

    key: str = kept_as(KEY)
    known: Mapping[bytes, int] | None = kept_as(MAYBE_VERSIONS, default=None)
    bytes_max: int = kept_as(UINT, default=MESSAGE_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class Fetched:
    """Answers with the copy that the sender holds, or None.

    ``versions``: those of a copy that is held and was not sent, see ``Fetch``.
    """

    key: str = kept_as(KEY)
    state: SessionState | None = kept_as(STATE)
    versions: Mapping[bytes, int] | None = kept_as(MAYBE_VERSIONS, default=None)


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """Asks for the next page of all that the receiver holds, after a key.

    ``ends``: only of what has ended, and of revocations. An older node sends all.
    """

    after_key: str = kept_as(PLACE)
    ends: bool = kept_as(BOOL, default=False)


@dataclass(frozen=True, slots=True)
class SnapshotPageMessage:
    """Answers with a page of sessions, and cursors that were true before it was read.

    ``ends``: the others are left out, as was asked for.
    """

    after_key: str = kept_as(PLACE)
    sessions: tuple[tuple[str, SessionState], ...] = kept_as(SESSIONS)
    next_key: str = kept_as(PLACE)
    done: bool = kept_as(BOOL)
    cursors: Mapping[bytes, Cursor] = kept_as(CURSORS)
    total: int = kept_as(UINT)
    ends: bool = kept_as(BOOL, default=False)


@dataclass(frozen=True, slots=True)
class Digests:
    """Begins anti-entropy: with the digest of everything, or one for each bucket."""

    root: int = kept_as(ROOT)
    buckets: bytes = kept_as(DIGESTS)


@dataclass(frozen=True, slots=True)
class Listing:
    """Goes on with what stands in the buckets that differ. ``answer``: list yours too."""

    buckets: tuple[int, ...] = kept_as(BUCKET_NUMBERS)
    entries: tuple[Entry, ...] = kept_as(ENTRIES)
    answer: bool = kept_as(BOOL)


@dataclass(frozen=True, slots=True)
class SessionsRequest:
    """Asks for whole copies of sessions, as the last step of anti-entropy."""

    keys: tuple[str, ...] = kept_as(KEYS)


@dataclass(frozen=True, slots=True)
class Sessions:
    """Answers with whole copies."""

    sessions: tuple[tuple[str, SessionState], ...] = kept_as(SESSIONS)


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks whether the receiver is there; any message back is an answer."""

    number: int = kept_as(UINT)


@dataclass(frozen=True, slots=True)
class Pong:
    """Answers a ping."""

    number: int = kept_as(UINT)


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Asks whether the receiver reaches a member that the sender cannot reach."""

    target: bytes = kept_as(NODE)


@dataclass(frozen=True, slots=True)
class ProbeReply:
    """Tells whether the member answered the sender."""

    target: bytes = kept_as(NODE)
    alive: bool = kept_as(BOOL)


@dataclass(frozen=True, slots=True)
class DirectChange:
    """Brings one change from the worker that made it, ahead of its node's stream; only sealed.

    ``batch`` holds a part of one session and stands on ``floor``, the place of its node's previous
    write to that session. ``number`` names the answer.
    """

    batch: Batch = kept_as(BATCH)
    number: int = kept_as(UINT)


@dataclass(frozen=True, slots=True)
class DirectAnswer:
    """Tells the worker whether the change is committed here.

    ``asker`` and ``number`` are the sender and the number of the question, so that no answer to
    another one can be taken for it.
    """

    asker: bytes = kept_as(NODE)
    number: int = kept_as(UINT)
    taken: bool = kept_as(BOOL)


Message = (
    Hello | Heartbeat | Changes | Progress | Fetch | Fetched | SnapshotRequest
    | SnapshotPageMessage | Digests | Listing | SessionsRequest | Sessions | Ping | Pong
    | ProbeRequest | ProbeReply | DirectChange | DirectAnswer
)

_NUMBERS: dict[type[Any], int] = {
    Hello: 1, Heartbeat: 2, Changes: 3, Progress: 4, Fetch: 5, Fetched: 6, SnapshotRequest: 7,
    SnapshotPageMessage: 8, Digests: 9, Listing: 10, SessionsRequest: 11, Sessions: 12, Ping: 13,
    Pong: 14, ProbeRequest: 15, ProbeReply: 16, DirectChange: 17, DirectAnswer: 18,
}
_KINDS: dict[type[Any], tuple[tuple[str, Kind], ...]] = {
    message: tuple((f.name, f.metadata["kind"]) for f in fields(message)) for message in _NUMBERS
}
_REQUIRED = {
    message: sum(f.default is MISSING for f in fields(message)) for message in _NUMBERS
}
# Each is one byte of msgpack, after that of the array.
_CHANGES = bytes([_NUMBERS[Changes]])
_OVERTAKING = {bytes([_NUMBERS[message]]) for message in (Progress, DirectChange, DirectAnswer)}
_TYPES = {number: message for message, number in _NUMBERS.items()}


def encode_message(message: Message) -> bytes:
    """Return the bytes of a message."""
    plain: list[Any] = [_NUMBERS[type(message)]]
    plain += [kind.pack(getattr(message, name)) for name, kind in _KINDS[type(message)]]
    packed: bytes = msgpack.packb(plain)
    return packed


def decode_message(data: bytes) -> Message:
    """Return the message in some bytes. Raises WireError for anything that is not one."""
    try:
        plain = unpack_plain(data, use_list=True)
    except Exception as error:
        raise WireError(f"not a message: {type(error).__name__}") from None
    if type(plain) is not list or not plain:
        raise WireError("not a message")
    message_type = _TYPES.get(plain[0]) if type(plain[0]) is int else None
    if message_type is None:
        raise WireError("a message of an unknown kind")
    if len(plain) <= _REQUIRED[message_type]:
        raise WireError(f"a {message_type.__name__} has too few fields")
    kinds = _KINDS[message_type]
    values = [kind.unpack(value) for (_, kind), value in zip(kinds, plain[1:], strict=False)]
    message: Message = message_type(*values)
    return message


def overtakes(data: bytes) -> bool:
    """Tell whether somebody waits for what a message says, so that it may pass others by.

    See ``may_be_overtaken``; bytes that are no message do neither.
    """
    return data[1:2] in _OVERTAKING


def may_be_overtaken(data: bytes) -> bool:
    """Tell whether a message is part of a feed: its order counts among its like only."""
    return data[1:2] == _CHANGES


def check_version(hello: Hello) -> None:
    """Raise OtherVersion when there is no version that both its sender and we speak."""
    if max(hello.version_min, PROTOCOL_VERSION_MIN) <= min(hello.version, PROTOCOL_VERSION):
        return
    if hello.version == QUESTION_VERSION:
        raise OtherVersion(QUESTION)
    older = "it" if hello.version < PROTOCOL_VERSION else "this node"
    raise OtherVersion(
        f"it speaks protocol {_span(hello.version_min, hello.version)}, we speak "
        f"{_span(PROTOCOL_VERSION_MIN, PROTOCOL_VERSION)}: upgrade {older}, if need be through a "
        "release in between"
    )


def _span(lowest: int, highest: int) -> str:
    return str(highest) if lowest >= highest else f"{lowest} to {highest}"
