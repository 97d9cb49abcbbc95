"""Is a store from the moment it is there until it is lost: its servers, and the groups in flight.

A group is answered whole or not at all, and groups in their order. What tells how far the store has
our feed follows data only when all of that has been taken: a server that refuses one command
carries out the next one all the same, and in a Cluster they are not the same server.
"""

import asyncio
import logging
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol

from clustersession.core.errors import StoreError, WireError
from clustersession.net.store.calls import MEMORY_BYTES, StoreCalls
from clustersession.net.store.connection import StoreConnection, StoreLimits
from clustersession.net.store.greeting import login_of, tls_context
from clustersession.net.store.refusals import refusal
from clustersession.net.store.resp import TOO_LONG, ErrorReply, command
from clustersession.net.store.server import (
    FULL,
    WRONG_TYPE,
    StoreServer,
    ask_sentinels,
)
from clustersession.node.store_calls import (
    Beat,
    Enter,
    Forget,
    KeepCursor,
    Merge,
    Read,
    ReadIndex,
    StoreCall,
)
from clustersession.settings.settings import Settings
from clustersession.settings.store_url import StoreAddress, StoreKind, StoreUrl, parse_store_url
from clustersession.store.keys import SLOTS, StoreKeys, slot_of
from clustersession.store.sealing import SealedNames
from clustersession.store.users import UserNames

logger = logging.getLogger("clustersession.net")

REDIRECTIONS_MAX: Final = 5
SENTINEL_INTERVAL_S: Final = 5.0
_MOVED: Final = re.compile(r"(MOVED|ASK) (\d{1,5}) (\S*):(\d{1,5})")


class StoreOwner(Protocol):
    """Is told what becomes of a store. Keys are those of sessions, not the store's names."""

    def store_up(self) -> None:
        """Hear that groups may be sent."""
        ...

    def store_down(self, reason: str) -> None:
        """Hear that the store is away, and what was not answered will not be. Told of each new
        reason.
        """
        ...

    def store_answered(self, number: int, answers: Sequence[Any]) -> None:
        """Get the answers to a group."""
        ...

    def store_changed(self, keys: frozenset[str] | None) -> None:
        """Hear that others have written sessions that we have read or written; None: any may be."""
        ...

    def store_warned(self, text: str) -> None:
        """Hear what goes on and may not be wanted."""
        ...


@dataclass(frozen=True, slots=True)
class StorePlan:
    """Says where a store is and how it is used. replicas: how many of its own must hold a write.

    hears_all: be told of every session that others write, and not only of those that were read.
    """

    url: StoreUrl
    calls: StoreCalls
    replicas: int = 0
    limits: StoreLimits = StoreLimits()  # noqa: RUF009
    hears_all: bool = False


def plan_of(settings: Settings) -> StorePlan:
    """Return where the store of the settings is, and how their cluster uses it."""
    secrets, cluster_name = [each.encode() for each in settings.secret], settings.cluster_name
    keys = StoreKeys(cluster_name)
    calls = StoreCalls(
        keys, SealedNames(secrets, cluster_name), UserNames(keys, secrets, cluster_name),
        settings.stamp_lead_ms_max,
    )
    return StorePlan(parse_store_url(settings.store), calls, settings.store_replicas)


class _Group:
    """Says how far a group is.

    sent: what it and those before tell about the feed has been. answered: the owner has its
        answers.
    """

    __slots__ = ("answered", "sent")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.sent: asyncio.Future[None] = loop.create_future()
        self.answered: asyncio.Future[None] = loop.create_future()


class OpenStore:
    """Carries out groups of calls, from ``open`` until ``lost`` is done.

    lost: why the store is lost; done once, at the first cause.
    servers: the connections, by address. _by_slot: which server holds a slot of a Cluster; a single
        server holds all. _opening: connections that are being made, where a redirection leads.
    _tasks: groups in flight, and the watch on Sentinels. _last: the group that was sent last.
    """

    def __init__(self, plan: StorePlan, owner: StoreOwner) -> None:
        self._plan = plan
        self._owner = owner
        self.lost: asyncio.Future[StoreError] = asyncio.get_running_loop().create_future()
        self.servers: dict[StoreAddress, StoreServer] = {}
        self._by_slot: list[StoreAddress | None] = []
        self._single: StoreServer | None = None
        self._opening: dict[StoreAddress, asyncio.Task[StoreServer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last = _Group()
        self._last.sent.set_result(None)
        self._last.answered.set_result(None)

    async def open(self, known: Sequence[StoreAddress]) -> None:
        """Find the servers and get them ready. ``known``: those of before, of a Cluster."""
        url = self._plan.url
        if url.kind is StoreKind.CLUSTER:
            await self._open_cluster([*known, *url.addresses])
            return
        address = url.addresses[0]
        if url.kind is StoreKind.SENTINEL:
            address = await ask_sentinels(url, self._plan.limits)
        self._single = await self._server(address)
        if url.kind is StoreKind.SENTINEL:
            self._start(self._watch_primary(address))

    @property
    def single(self) -> StoreServer | None:
        """Return the server that has everything; None for a Cluster."""
        return self._single

    async def close(self) -> None:
        """Close every connection and give up what is in flight."""
        self.fail(StoreError("closed"))
        tasks = [*self._tasks, *self._opening.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in self.servers.values():
            # One may have been opened after another had failed.
            server.connection.abort(StoreError("closed"))
            await server.connection.closed()

    def fail(self, reason: StoreError) -> None:
        """Give the store up."""
        if self.lost.done():
            return
        self.lost.set_result(reason)
        for server in [*self.servers.values()]:
            server.connection.abort(reason)
        for task in self._tasks:
            task.cancel()

    def send(self, number: int, calls: Sequence[StoreCall]) -> None:
        """Carry out a group; the owner hears of its end, unless the store is lost before."""
        previous, group = self._last, _Group()
        stages = [*self._stages(calls)]
        if not any(tells for _, tells in stages):
            # It may be overtaken: what comes next follows what was told before.
            group.sent = previous.sent
        self._last = group
        self._start(self._carry_out(number, stages, previous, group))

    async def _carry_out(
        self, number: int, stages: Sequence[tuple[list[StoreCall], bool]],
        previous: _Group, group: _Group,
    ) -> None:
        answers: list[Any] = []
        for left, (stage, tells) in zip(reversed(range(len(stages))), stages, strict=True):
            if tells:
                # One server does what it is sent in its order.
                await (previous.sent if self._single else previous.answered)
                if not left:
                    group.sent.set_result(None)
            answers += await self._ask(stage)
        await previous.answered
        group.answered.set_result(None)
        self._owner.store_answered(number, answers)

    def _stages(self, calls: Sequence[StoreCall]) -> Iterator[tuple[list[StoreCall], bool]]:
        """Cut a group into what may be sent at once; say of each whether it tells about the feed.

        What is told about data follows it only when it has been taken. Data may follow that at once
        where one server does both, in their order.
        """
        stage: list[StoreCall] = []
        tells = False
        for call in calls:
            now_tells = isinstance(call, KeepCursor | Beat)
            if stage and now_tells != tells and (now_tells or self._single is None):
                yield stage, tells
                stage, tells = [], False
            stage.append(call)
            tells = tells or now_tells
        if stage:
            yield stage, tells

    async def _ask(self, calls: Sequence[StoreCall]) -> list[Any]:
        """Have calls carried out where their keys are. Raises StoreError unless all of them are."""
        translated = self._plan.calls
        commands = [(call, key) for call in calls for key in translated.keys_of(call)]
        replies: list[Any] = [None] * len(commands)
        # Where each has to go to, and whether as an exception to the map of slots.
        missing = {at: (self._holder(key), False) for at, (_, key) in enumerate(commands)}
        for _ in range(REDIRECTIONS_MAX):
            if not missing:
                break
            missing = await self._ask_once(commands, missing, replies)
        else:
            raise StoreError("the servers of the Cluster name each other in a circle")
        following = iter(replies)
        return [
            translated.answer(call, [*islice(following, len(translated.keys_of(call)))])
            for call in calls
        ]

    async def _ask_once(
        self, asked_for: Sequence[tuple[StoreCall, bytes]],
        missing: dict[int, tuple[StoreServer, bool]], replies: list[Any],
    ) -> dict[int, tuple[StoreServer, bool]]:
        batches: dict[StoreServer, list[int]] = {}
        for at, (server, _) in missing.items():
            batches.setdefault(server, []).append(at)
        asked = []
        for server, batch in batches.items():
            commands = []
            for at in batch:
                drawn = secrets.token_bytes(MEMORY_BYTES)
                if missing[at][1]:
                    commands.append(command("ASKING"))
                commands.append(self._plan.calls.command(*asked_for[at], server, drawn))
            if any(isinstance(asked_for[at][0], Merge | Enter) for at in batch):
                commands += self._wait_for_replicas(server)
            asked.append(server.connection.ask(commands))
        again: dict[int, tuple[StoreServer, bool]] = {}
        for (server, batch), answers in zip(
            batches.items(), await asyncio.gather(*asked), strict=True
        ):
            following = iter(answers)
            for at in batch:
                if missing[at][1]:
                    next(following)
                reply = replies[at] = next(following)
                if isinstance(reply, ErrorReply) and not _concerns_one(asked_for[at][0], reply):
                    again[at] = await self._redirected(server, reply)
            self._count_replicas(server, next(following, None))
            await self._squeeze(server, asked_for, missing, batch, replies)
        return again

    async def _squeeze(
        self, server: StoreServer, asked_for: Sequence[tuple[StoreCall, bytes]],
        missing: Mapping[int, tuple[StoreServer, bool]], batch: Sequence[int], replies: list[Any],
    ) -> None:
        """Have a full server take what needs no space."""
        refused, commands = [], []
        for at in batch:
            call, name = asked_for[at]
            reply = replies[at]
            if isinstance(call, Merge) and isinstance(reply, ErrorReply) and reply.code == FULL:
                refused.append(at)
                if missing[at][1]:
                    commands.append(command("ASKING"))
                commands.append(self._plan.calls.squeezed(call, name, server))
        if not refused:
            return
        commands += self._wait_for_replicas(server)
        following = iter(await server.connection.ask(commands))
        for at in refused:
            if missing[at][1]:
                next(following)
            replies[at] = next(following)
            if isinstance(replies[at], ErrorReply):
                raise server.refused(replies[at])
        self._count_replicas(server, next(following, None))

    def _wait_for_replicas(self, server: StoreServer) -> list[bytes]:
        """Return the command that follows writes, if any does."""
        if not self._plan.replicas:
            return []
        patience_ms = server.replicas.patience_ms(asyncio.get_running_loop().time())
        return [command("WAIT", self._plan.replicas, patience_ms)] if patience_ms else []

    def _count_replicas(self, server: StoreServer, held_by: Any) -> None:
        if isinstance(held_by, ErrorReply):
            raise server.refused(held_by)
        if not isinstance(held_by, int):
            return
        enough = held_by >= self._plan.replicas
        server.replicas.answered(enough, asyncio.get_running_loop().time())
        if not enough:
            self._owner.store_warned(
                f"{held_by} replicas of the store hold a write, and store_replicas asks for "
                f"{self._plan.replicas}"
            )

    def _holder(self, key: bytes) -> StoreServer:
        if self._single is not None:
            return self._single
        slot = slot_of(key)
        address = self._by_slot[slot]
        server = self.servers.get(address) if address else None
        if server is None:
            raise StoreError(f"no server of the Cluster has slot {slot}")
        return server

    async def _redirected(self, server: StoreServer, reply: ErrorReply) -> tuple[StoreServer, bool]:
        """Return where the Cluster sends a call. Raises StoreError for any other error."""
        found = _MOVED.match(reply.text)
        if found is None or self._single is not None or int(found[2]) >= SLOTS:
            raise server.refused(reply)
        address = StoreAddress((found[3] or server.connection.address[0], int(found[4])))
        target = await self._server(address)
        if found[1] == "MOVED":
            self._by_slot[int(found[2])] = address
        return target, found[1] == "ASK"

    async def _server(self, address: StoreAddress) -> StoreServer:
        """Return the connection to a server, made when it is first needed."""
        if address in self.servers:
            return self.servers[address]
        task = self._opening.get(address)
        if task is None:
            task = self._opening[address] = asyncio.create_task(self._connect(address))
            task.add_done_callback(lambda _: self._opening.pop(address, None))
        return await asyncio.shield(task)

    async def _connect(self, address: StoreAddress) -> StoreServer:
        plan = self._plan
        server = StoreServer(
            plan.url, plan.calls.keys, address, plan.limits, self._changed, self.fail,
            hears_all=plan.hears_all,
        )
        await server.open()
        self.servers[address] = server
        return server

    async def _open_cluster(self, seeds: Sequence[StoreAddress]) -> None:
        problems: list[StoreError] = []
        for seed in dict.fromkeys(seeds):
            try:
                await self._open_slots(await _slots(self._plan, seed))
                return
            except StoreError as error:
                if self.lost.done():
                    raise
                problems.append(error)
        raise StoreError("; ".join(map(str, problems)), problems[-1].kind)

    async def _open_slots(self, ranges: Sequence[tuple[int, int, StoreAddress]]) -> None:
        self._by_slot = [None] * SLOTS
        for first, last, address in ranges:
            self._by_slot[first : last + 1] = [address] * (last + 1 - first)
        await asyncio.gather(*(self._server(each) for each in {each for _, _, each in ranges}))

    async def _watch_primary(self, address: StoreAddress) -> None:
        """Give up a primary that Sentinels have replaced, and that may not know it yet."""
        while True:
            await asyncio.sleep(SENTINEL_INTERVAL_S)
            try:
                now = await ask_sentinels(self._plan.url, self._plan.limits)
            except StoreError:
                continue
            if now != address:
                self.fail(StoreError(f"the Sentinels name another primary now, {now}"))

    def _changed(self, names: Sequence[Any] | None) -> None:
        keys = None
        if names is not None:
            keys = self._plan.calls.changed(names)
            if keys is not None and not keys:
                return
        # Not before the answer that it came behind: that one has what was there before the change,
        # and its owner would take it for the latest.
        self._last.answered.add_done_callback(lambda _: self._owner.store_changed(keys))

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, WireError):
            error = StoreError(str(error))
        if not isinstance(error, StoreError):
            logger.error("a call of the store failed", exc_info=error)
            error = StoreError(f"a call of the store failed: {error!r}")
        self.fail(error)


def _concerns_one(call: StoreCall, reply: ErrorReply) -> bool:
    """Tell whether a server refuses this call alone: for its size, or for what stands there."""
    if isinstance(call, Read | ReadIndex | Forget):
        return reply.code in (WRONG_TYPE, TOO_LONG)
    return isinstance(call, Merge) and reply.code == FULL


async def _slots(plan: StorePlan, seed: StoreAddress) -> list[tuple[int, int, StoreAddress]]:
    """Ask a server of a Cluster which primaries hold which slots. Raises StoreError."""
    connection = StoreConnection(
        seed, plan.limits, lambda parts: None, lambda error: None, tls=plan.url.tls
    )
    try:
        await connection.connect(tls_context(plan.url))
        hello, reply = await connection.ask(
            [command("HELLO", 3, *login_of(plan.url)), command("CLUSTER", "SLOTS")]
        )
    finally:
        connection.abort(StoreError("done"))
        await connection.closed()
    for each in (hello, reply):
        if isinstance(each, ErrorReply):
            raise refusal(str(seed), each, plan.url.user, plan.calls.keys.pattern)
    if not isinstance(reply, list) or not reply:
        raise StoreError(f"the Cluster at {seed} has no slots yet")
    return [_range(part, seed) for part in reply]


def _range(part: Any, seed: StoreAddress) -> tuple[int, int, StoreAddress]:
    match part:
        case [int(first), int(last), [host, int(port), *_], *_] if 0 <= first <= last < SLOTS:
            # A server that does not know its own address leaves it away.
            name = host.decode("ascii", "replace") if isinstance(host, bytes) else ""
            return first, last, StoreAddress((name or seed[0], port))
    raise StoreError(f"the Cluster at {seed} answers CLUSTER SLOTS by what is none")
