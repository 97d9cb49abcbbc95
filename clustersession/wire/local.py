"""Is what a worker and its node's agent say to each other over the unix socket.

Frames as between nodes, each a msgpack array. A request is [operation, token, argument]; token 0
wants no answer. An answer is [token, value]. With token 0 the agent pushes an event for the log.
The socket lives in a directory only its owner can enter, so both ends are trusted; what does not
parse still ends the connection and nothing else. A worker and an agent of different versions work
together: parts and arguments that one of them does not know are ignored, and an operation that the
agent does not know is answered with nil.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import msgpack

from clustersession.core.errors import WireError
from clustersession.wire.packed import unpack

LOCAL_BYTES_MAX = 4 * 2**20

AHEAD_KEYS_MAX = 8
"""How many sessions a worker names that waits for what it wrote to them."""


class Operation(IntEnum):
    """Names what a worker or the command line may ask. Numbers are append-only.

    ATTACH [pid, stopping, waits]: this connection is a worker. The others may be missing.
    ``stopping``: it was told to stop and goes on for now; when all of them were, the node drains.
    ``waits``: it has another store than the agent, and waits for one that has it too.
    FEED_MOVED [head, grant, places]: we have committed. The last two may be missing: which places
    of the feed the store has already, because we have written them there under that grant.
    PEERS_HOLD [head]: we have committed, and every peer holds it already: the stream may wait.
    CONFIRM [head, all, timeout_ms, ends, keys]: answer with the number of peers that hold our feed
    up to there. The last two may be missing. ``ends``: sessions end there, so that all must, on
    their disks. ``keys``: all sessions that were written; none: it is not known.
    FETCH [key, versions]: answer whether the session is in the replica now, and with ``versions``,
    which may be missing, whether the copy contains those writes, [node, number] each.
    STATUS []: answer with a mapping.
    DRAIN []: move users away. STOP []: leave the cluster and exit.
    WATCH [key]: answer now, and under the same token again whenever the session may have changed.
    UNWATCH [token]: no more of that. LISTEN [everywhere, pid]: push events
    about sessions to that worker, with everywhere also what happened on other nodes.
    REPORT [counts]: what a worker has counted since it last told, by name; it was pushed [] before.
    EVENTS []: answer with the newest lines of the agent's log, [wall ms, level name, text] each.
    LOCATE [key, timeout_ms]: answer with who holds the session, a mapping for this node and each
    peer.
    GATHER [tag]: answer whether all sessions of a user are in the replica now, see
    ``core.revocation.principal_tag``.
    GRANT []: answer how a worker may write to the store itself, see ``net.store.grant``; []: not
    now.
    DISMISS [nodes]: recover without these nodes, by an operator's word.
    """

    ATTACH = 1
    FEED_MOVED = 2
    CONFIRM = 3
    FETCH = 4
    STATUS = 5
    DRAIN = 6
    STOP = 7
    WATCH = 8
    UNWATCH = 9
    LISTEN = 10
    EVENTS = 11
    LOCATE = 12
    REPORT = 13
    GATHER = 14
    GRANT = 15
    PEERS_HOLD = 16
    DISMISS = 17


class Request(NamedTuple):
    """Holds a request of a worker; ``operation`` may be one that only a later version knows."""

    operation: int
    token: int
    argument: list[Any]


class AgentAnswer(NamedTuple):
    """Holds an answer of the agent or, with token 0, an event.

    Events are [level name, text] for the log; [] for a worker to tell its counts (an older one
    ignores it); and about a session:
    [kind, key, the session as a whole or nil, names of changed attributes, reason of its end].
    """

    token: int
    value: Any


def encode_request(operation: Operation, token: int, *argument: object) -> bytes:
    """Return the bytes of a request."""
    packed: bytes = msgpack.packb([int(operation), token, list(argument)])
    return packed


def encode_answer(token: int, value: object) -> bytes:
    """Return the bytes of an answer."""
    packed: bytes = msgpack.packb([token, value])
    return packed


def decode_request(data: bytes) -> Request:
    """Return the request in some bytes. Raises WireError for anything that is not one."""
    row = _row(data, 3)
    if type(row[0]) is not int or type(row[1]) is not int or type(row[2]) is not list:
        raise WireError("not a request")
    return Request(row[0], row[1], row[2])


def decode_answer(data: bytes) -> AgentAnswer:
    """Return the answer in some bytes. Raises WireError for anything that is not one."""
    row = _row(data, 2)
    if type(row[0]) is not int:
        raise WireError("not an answer")
    return AgentAnswer(row[0], row[1])


def _row(data: bytes, length: int) -> list[Any]:
    try:
        row = unpack(data, use_list=True)
    except Exception as error:
        raise WireError(f"not a message: {type(error).__name__}") from None
    if type(row) is not list or len(row) < length:
        raise WireError("a message of the wrong shape")
    return row
