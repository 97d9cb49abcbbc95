"""Explains why a store cannot be used, and what to change.

Servers answer errors that begin with a code; the sources of Valkey and Redis name them.
"""

import socket
import ssl
from collections.abc import Mapping
from typing import Final

from clustersession.core.errors import StoreError, StoreErrorKind
from clustersession.net.store.resp import ErrorReply

COMMANDS_NEEDED: Final = (
    "+hello +auth +select +time +info +wait +asking +cluster|slots +client|tracking +fcall "
    "+function|load +evalsha +script|load +hgetall +hmget +hlen +hset +hdel +get +set +strlen +del "
    "+pexpire +pexpireat +zadd +zrange +zrem +zremrangebyscore"
)
"""All that an ACL user needs, those that functions call included."""

OLDEST: Final = "Valkey 7.2 or Redis 7.0"

_BY_CODE: Final[Mapping[str, str]] = {
    "WRONGPASS": "refuses user and password; mend them in the setting store",
    "NOAUTH": "asks for a password; write one into the setting store, as in "
              "valkey://user:password@host",
    "DENIED": "lets nobody from other hosts in (protected mode); give it a password, and write it "
              "into the setting store",
    "READONLY": "is a read-only replica; name the primary in the setting store, or its Sentinels "
                "as valkey+sentinel://",
    "OOM": "is full; raise its maxmemory",
    "LOADING": "is loading its data; it will be tried again",
    "MASTERDOWN": "is a replica that has lost its primary",
    "MISCONF": "writes nothing, because it cannot save to its disk; see its log",
    "NOREPLICAS": "writes nothing, because it has fewer replicas than min-replicas-to-write",
    "CLUSTERDOWN": "is a Cluster of which a part is down",
    "TRYAGAIN": "is moving slots; it will be tried again",
    "BUSY": "is busy with somebody's script; SCRIPT KILL or FUNCTION KILL ends it",
    "NOPROTO": f"is too old; it must be {OLDEST} or newer",
    "NOSCRIPT": "has forgotten our functions; they will be loaded again",
    "MOVED": "is a server of a Cluster; write valkey+cluster:// in the setting store",
    "ASK": "is a server of a Cluster; write valkey+cluster:// in the setting store",
    "CROSSSLOT": "is a server of a Cluster; write valkey+cluster:// in the setting store",
}  # fmt: skip
_BY_WORDS: Final[Mapping[str, str]] = {
    "DB index": "has no such database; mend the number at the end of the setting store",
    "SELECT is not allowed": "is a Cluster, which has database 0 alone; write valkey+cluster://",
    "max number of clients": "has as many clients as it takes; raise its maxclients",
    "unction not found": "has forgotten our functions; they will be loaded again",
    "unknown command": f"does not know a command that is needed; it must be {OLDEST} or newer, and "
                       "no proxy that leaves commands out",
    "No such master": "are Sentinels that watch no primary of that name; mend the name in the "
                      "setting store",
    "cluster support disabled": "is no Cluster; write valkey:// in the setting store",
}  # fmt: skip

_KIND_BY_CODE: Final[Mapping[str, StoreErrorKind]] = {
    **dict.fromkeys(("WRONGPASS", "NOAUTH", "DENIED"), StoreErrorKind.LOGIN),
    **dict.fromkeys(("READONLY", "NOPROTO", "MOVED", "ASK", "CROSSSLOT"), StoreErrorKind.SETTING),
    "OOM": StoreErrorKind.FULL,
    **dict.fromkeys(
        ("LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "BUSY"),
        StoreErrorKind.NOT_READY,
    ),
}  # fmt: skip

NOBODY_THERE: Final = (
    "is not there: nobody listens; start it, or mend the address in the setting store, and look "
    "whether it listens for other hosts (its setting bind) and no firewall refuses us"
)
NO_SOCKET: Final = (
    "is not there: nobody listens at that path; start it, or mend the path in the setting store, "
    "which is the one that its setting unixsocket names"
)
_IN_A_FUNCTION: Final = ("The user executing the script can't", "ACL failure in script")
"""What stands in the place of NOPERM when a function called what is forbidden."""


def refusal(where: str, reply: ErrorReply, user: str, pattern: str) -> StoreError:
    """Explain what a server answered. ``pattern`` is that of our keys, for an ACL rule."""
    if reply.code == "NOPERM" or any(words in reply.text for words in _IN_A_FUNCTION):
        name = user or "default"
        return StoreError(
            f"the store at {where} forbids what is needed ({quoted(reply)}); allow it by "
            f"ACL SETUSER {name} on ~{pattern} {COMMANDS_NEEDED}",
            StoreErrorKind.FORBIDDEN,
        )
    advice = _BY_CODE.get(reply.code)
    if advice is None:
        found = [advice for words, advice in _BY_WORDS.items() if words in reply.text]
        advice = found[0] if found else "answers what is not expected"
    kind = _KIND_BY_CODE.get(reply.code, StoreErrorKind.OTHER)
    return StoreError(f"the store at {where} {advice} ({quoted(reply)})", kind)


def unreachable(
    where: str, error: Exception, *, tls: bool, connecting: bool = False
) -> StoreError:
    """Explain why there is no connection."""
    kind = StoreErrorKind.UNREACHABLE
    if isinstance(error, ssl.SSLError):
        kind = StoreErrorKind.TLS
    if isinstance(error, ssl.SSLCertVerificationError):
        why = (
            f"shows a certificate that is not trusted ({error.verify_message}); name who signed it "
            "in the setting store, as in valkeys://host?ca=/etc/ca.pem, and the host as the "
            "certificate has it"
        )
    elif isinstance(error, ssl.SSLError):
        said = getattr(error, "reason", None) or error
        why = (
            f"refuses TLS ({said}); if it speaks none, write valkey://; if it asks for a "
            "certificate of ours, add ?certificate=...&key=..."
        )
    elif isinstance(error, TimeoutError):
        why, kind = "does not answer in time", StoreErrorKind.TIMEOUT
        if tls and connecting:
            why += "; if it speaks no TLS, write valkey:// in the setting store"
    elif isinstance(error, socket.gaierror):
        why = f"has a name that cannot be resolved ({error.strerror})"
    elif isinstance(error, ConnectionRefusedError | FileNotFoundError):
        why = NOBODY_THERE if isinstance(error, ConnectionRefusedError) else NO_SOCKET
    elif isinstance(error, ConnectionError | EOFError):
        why, kind = "closed the connection", StoreErrorKind.CLOSED
        if connecting:
            why += "; it may have as many clients as it takes (maxclients)"
            why += (
                ", or ask for a certificate of ours: then add ?certificate=...&key=..." if tls
                else ", or speak TLS only: then write valkeys:// in the setting store"
            )
    else:
        why = f"cannot be reached ({getattr(error, 'strerror', None) or type(error).__name__})"
    return StoreError(f"the store at {where} {why}", kind)


def quoted(reply: ErrorReply) -> str:
    """Return what the server said, short, on one line and without what it may repeat of us."""
    words = "".join(c if c.isprintable() else " " for c in reply.text)
    # An unknown command is told with its arguments, a password among them.
    return words.partition(", with args beginning with")[0][:160]
