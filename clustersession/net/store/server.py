"""Is one server of a store, made ready: let in, tracked, and with our functions."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from clustersession.core.errors import StoreError, StoreErrorKind
from clustersession.net.store.connection import StoreConnection, StoreLimits
from clustersession.net.store.greeting import (
    Greeted,
    check_greeted,
    greeting,
    read_hello,
    run_id_of,
    tls_context,
)
from clustersession.net.store.refusals import quoted, refusal, unreachable
from clustersession.net.store.replica_wait import ReplicaWait
from clustersession.net.store.resp import ErrorReply, Part, command
from clustersession.settings.store_url import StoreAddress, StoreKind, StoreUrl
from clustersession.store.keys import StoreKeys
from clustersession.store.library import FUNCTIONS, MERGE, script, source

logger = logging.getLogger("clustersession.net")

WRONG_TYPE: Final = "WRONGTYPE"
FULL: Final = "OOM"


class StoreServer:
    """Holds a connection that has been greeted, and knows how the server runs our functions.

    greeted: what the server says of itself. run_id: which run of which server it is; "" when we may
    not know. replicas: how long writes wait for its
    replicas. _scripts: the digests by which EVALSHA finds our functions; empty where FCALL does.
    """

    def __init__(
        self,
        url: StoreUrl,
        keys: StoreKeys,
        address: StoreAddress,
        limits: StoreLimits,
        on_changed: Callable[[Sequence[Any] | None], None],
        on_closed: Callable[[StoreError], None],
        *,
        hears_all: bool = False,
    ) -> None:
        self._url = url
        self._keys = keys
        self._hears_all = hears_all
        self._on_changed = on_changed
        self.connection = StoreConnection(
            address, limits, self._pushed, on_closed, tls=url.tls
        )
        self.greeted = Greeted()
        self.run_id = ""
        self.replicas = ReplicaWait()
        self._scripts: dict[str, bytes] = {}

    def __str__(self) -> str:
        version = ".".join(map(str, self.greeted.version)) or "of unknown version"
        return f"{self.greeted.product or 'a store'} {version} at {self.connection.address}"

    @property
    def user(self) -> str:
        """Return the name that we log in with."""
        return self._url.user or "default"

    @property
    def has_functions(self) -> bool:
        """Tell whether FCALL runs our functions, and not EVALSHA."""
        return not self._scripts

    def call(self, function: str, keys: list[bytes], *arguments: Part) -> bytes:
        """Write a call of one of our functions."""
        if self._scripts:
            return command("EVALSHA", self._scripts[function], len(keys), *keys, *arguments)
        return command("FCALL", function, len(keys), *keys, *arguments)

    def digest(self, function: str) -> bytes:
        """Return the digest by which EVALSHA finds one of our functions; b"" where FCALL does."""
        return self._scripts.get(function, b"")

    def refused(self, reply: ErrorReply) -> StoreError:
        """Explain an error that this server has answered."""
        return refusal(str(self.connection.address), reply, self._url.user, self._keys.pattern)

    async def open(self) -> None:
        """Connect and get ready. Raises StoreError."""
        connection = self.connection
        try:
            await connection.connect(tls_context(self._url))
            await self._greet()
            await self._load()
            [info] = await connection.ask([command("INFO", "server")])
            self.run_id = run_id_of(info)
        except BaseException:
            connection.abort(StoreError(f"the store at {connection.address} was not opened"))
            raise

    async def _greet(self) -> None:
        commands = greeting(self._url)
        # What we write ourselves is no news; merge.lua goes on being told of what others write.
        of_all: list[Part] = ["BCAST", "PREFIX", self._keys.sessions] if self._hears_all else []
        commands.append(command("CLIENT", "TRACKING", "ON", *of_all, "NOLOOP"))
        # Tells whether we may look at our keys, and whether a Cluster has all of its slots.
        commands.append(command("HLEN", self._keys.members))
        try:
            hello, *rest = await self.connection.ask(commands)
        except StoreError:
            if self.connection.last_error is not None:
                raise self.refused(self.connection.last_error) from None
            raise
        if isinstance(hello, ErrorReply):
            raise self.refused(hello)
        where = str(self.connection.address)
        self.greeted = read_hello(hello, where)
        refused = check_greeted(self.greeted, self._url.kind, where)
        if refused is not None:
            raise self.refused(refused)
        for reply in rest:
            # What stands in the place of a key of ours goes with the first beat.
            is_ours = not isinstance(reply, ErrorReply) or reply.code == WRONG_TYPE
            if not is_ours and not self._is_elsewhere(reply):
                raise self.refused(reply)

    def _is_elsewhere(self, reply: ErrorReply) -> bool:
        """Tell whether a Cluster only says that another of its servers has the key."""
        return self._url.kind is StoreKind.CLUSTER and reply.code in ("MOVED", "ASK")

    async def _load(self) -> None:
        """Have the server know our functions, as a library or as scripts."""
        [loaded] = await self.connection.ask([command("FUNCTION", "LOAD", source())])
        if not isinstance(loaded, ErrorReply) or "already exists" in loaded.text:
            return
        if loaded.code not in ("NOPERM", FULL) and "unknown command" not in loaded.text:
            raise self.refused(loaded)
        # Somebody may have loaded it who was allowed to, or before the server was full, which takes
        # scripts even then. Without a key it does nothing.
        [called] = await self.connection.ask([command("FCALL", MERGE, 0)])
        if isinstance(called, ErrorReply) and called.code in ("ERR", FULL) and not any(
            words in called.text for words in ("unknown command", "Function not found")
        ):
            return
        loads = [command("SCRIPT", "LOAD", script(name)) for name in FUNCTIONS]
        digests = await self.connection.ask(loads)
        if not all(isinstance(digest, bytes) for digest in digests):
            raise self.refused(loaded)
        self._scripts = dict(zip(FUNCTIONS, digests, strict=True))

    def _pushed(self, parts: list[Any]) -> None:
        match parts:
            case [b"invalidate", None]:
                self._on_changed(None)
            case [b"invalidate", list(names)]:
                self._on_changed(names)


async def ask_sentinels(url: StoreUrl, limits: StoreLimits) -> StoreAddress:
    """Return where the primary is, by the first Sentinel that knows. Raises StoreError."""
    problems: list[StoreError] = []
    for address in url.addresses:
        try:
            return await _ask_sentinel(url, address, limits)
        except StoreError as error:
            problems.append(error)
    raise StoreError("; ".join(map(str, problems)), problems[-1].kind)


async def _ask_sentinel(url: StoreUrl, address: StoreAddress, limits: StoreLimits) -> StoreAddress:
    connection = StoreConnection(
        address, limits, lambda parts: None, lambda error: None, tls=url.tls
    )
    try:
        await connection.connect(tls_context(url))
        login = [url.sentinel_user] * bool(url.sentinel_user) + [url.sentinel_password]
        asked = [command("AUTH", *login)] if url.sentinel_password else []
        asked.append(command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", url.primary))
        replies = await connection.ask(asked)
    finally:
        connection.abort(StoreError("done"))
        await connection.closed()
    if isinstance(replies[-1], ErrorReply) and "unknown command" in replies[-1].text:
        raise StoreError(
            f"the server at {address} is no Sentinel; write valkey:// in the setting store, or the "
            "port of its Sentinels, which is 26379 where nobody has changed it",
            StoreErrorKind.SETTING,
        )
    for reply in replies:
        if isinstance(reply, ErrorReply):
            raise StoreError(
                f"the Sentinel at {address} does not say where the primary is: {quoted(reply)}"
            )
    match replies[-1]:
        case [bytes(host), bytes(port)] if port.isdigit() and 0 < int(port[:6]) < 65_536:
            return StoreAddress((host.decode("ascii", "replace"), int(port)))
        case None:
            raise StoreError(
                f"the Sentinel at {address} watches no primary named {url.primary}; mend the name "
                "in the setting store",
                StoreErrorKind.SETTING,
            )
    raise unreachable(str(address), EOFError(), tls=url.tls)
