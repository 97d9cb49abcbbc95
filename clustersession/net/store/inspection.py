"""Looks at how a store is configured and how full it is, and says what may lose sessions."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from clustersession.core.errors import StoreError
from clustersession.net.store.resp import ErrorReply, command
from clustersession.net.store.server import StoreServer
from clustersession.settings.store_url import StoreAddress


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """Says how full a server is, and what it does when it is.

    memory_bytes_max: 0 for no bound. policy: its maxmemory-policy. dropped: how many keys it has
    dropped for space since it was started, whoever they belonged to.
    """

    memory_bytes: int
    memory_bytes_max: int
    policy: str
    dropped: int


async def usage_of(server: StoreServer) -> StoreUsage | None:
    """Return how full a server is; None when we may not know. Raises StoreError."""
    [reply] = await server.connection.ask([command("INFO")])
    if isinstance(reply, ErrorReply):
        return None
    said = fields_of_info(reply)
    used, most, dropped = (
        int(value) if value.isdigit() else 0
        for value in (said.get(n, "") for n in ("used_memory", "maxmemory", "evicted_keys"))
    )
    return StoreUsage(used, most, said.get("maxmemory_policy", "noeviction"), dropped)


async def warnings_of(servers: Iterable[StoreServer]) -> list[str]:
    """Return a line for each thing that works and may not be wanted. Raises StoreError."""
    looks = [(server.connection.address, await usage_of(server)) for server in servers]
    # Who may not look need not be warned.
    return [line for where, usage in looks if usage for line in warnings_about(where, usage)]


def warnings_about(where: StoreAddress, usage: StoreUsage) -> list[str]:
    """Return a line for each thing that works on a server and may not be wanted."""
    if not usage.memory_bytes_max or usage.policy == "noeviction":
        return []
    return [
        f"the store at {where} has the maxmemory-policy {usage.policy}: when it is full it drops "
        "sessions, and users are logged out; set noeviction"
    ]


def fields_of_info(reply: Any) -> dict[str, str]:
    """Return what INFO says, by name. Raises StoreError."""
    if not isinstance(reply, bytes):
        raise StoreError("the store answers INFO by what is no text")
    pairs = (line.partition(":") for line in reply.decode("utf-8", "replace").splitlines())
    return {name: value for name, _, value in pairs}
