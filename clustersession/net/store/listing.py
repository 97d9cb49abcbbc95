"""Lists what a store holds of a cluster, some sessions at a time."""

from collections.abc import AsyncIterator
from typing import Any, Final

from clustersession.core.errors import StoreError, StoreErrorKind
from clustersession.net.store.open_store import OpenStore
from clustersession.net.store.resp import ErrorReply, command
from clustersession.net.store.server import StoreServer
from clustersession.store.keys import StoreKeys

LOOKED_AT_ONCE: Final = 500


async def session_keys(store: OpenStore, keys: StoreKeys) -> AsyncIterator[list[str]]:
    """Yield the keys of all sessions, ends and revocations; one may come twice. Raises StoreError.

    What is written meanwhile may be missing: whoever wants it hears of it.
    """
    for server in [*store.servers.values()]:
        cursor = b"0"
        while True:
            [reply] = await server.connection.ask([
                command("SCAN", cursor, "MATCH", keys.sessions + b"*", "COUNT", LOOKED_AT_ONCE)
            ])
            cursor, names = _read(server, reply)
            found = (keys.session_of(name) for name in names if isinstance(name, bytes))
            yield [key for key in found if key is not None]
            if cursor == b"0":
                break


def _read(server: StoreServer, reply: Any) -> tuple[bytes, list[Any]]:
    match reply:
        case [bytes(cursor), list(names)]:
            return cursor, names
        case ErrorReply(code="NOPERM"):
            raise StoreError(
                f"the store at {server.connection.address} does not let its user list sessions; "
                f"allow it by ACL SETUSER {server.user} +scan, and forbid it again by ACL SETUSER "
                f"{server.user} -scan when this is done",
                StoreErrorKind.FORBIDDEN,
            )
        case ErrorReply():
            raise server.refused(reply)
    raise StoreError("the store answers SCAN by what is none")
