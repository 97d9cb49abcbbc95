"""An owner of a store that notes what it is told, and what is needed to make a client."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from clustersession.core.state import Register, SessionState
from clustersession.net.store.calls import StoreCalls
from clustersession.net.store.client import StoreClient
from clustersession.net.store.connection import StoreLimits
from clustersession.net.store.open_store import StorePlan
from clustersession.node.store_calls import StoreCall
from clustersession.settings.store_url import parse_store_url
from clustersession.store.keys import StoreKeys
from clustersession.store.sealing import SealedNames
from clustersession.store.users import UserNames
from tests.support.waiting import until

NODE, OTHER = b"node-one", b"node-two"
FAR_MS = 2_000_000_000_000


def state(value: bytes = b"v", *, at: int = 1, name: str = "a", node: bytes = NODE) -> SessionState:
    """A session with one attribute."""
    return SessionState(1, 2, FAR_MS, {name: Register(at, node, at, value)}, {node: at}, None)


def calls_of(*secrets: bytes, cluster_name: str = "shop") -> StoreCalls:
    """The translation for a cluster."""
    keys = StoreKeys(cluster_name)
    return StoreCalls(
        keys, SealedNames(secrets or (b"s" * 32,), cluster_name),
        UserNames(keys, secrets or (b"s" * 32,), cluster_name), 300_000,
    )


class Noting:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.answers: dict[int, Sequence[Any]] = {}
        self.client: StoreClient | None = None
        self._number = 0

    def store_up(self) -> None:
        self.told.append(("up", None))

    def store_down(self, reason: str) -> None:
        self.told.append(("down", reason))

    def store_answered(self, number: int, answers: Sequence[Any]) -> None:
        self.told.append(("answered", number))
        self.answers[number] = answers

    def store_changed(self, keys: frozenset[str] | None) -> None:
        self.told.append(("changed", keys))

    def store_warned(self, text: str) -> None:
        self.told.append(("warned", text))

    def all(self, what: str) -> list[Any]:
        """What was told under one name."""
        return [said for name, said in self.told if name == what]

    @property
    def reasons(self) -> list[str]:
        """Why the store was away."""
        return self.all("down")

    @property
    def changed(self) -> set[str]:
        """All keys that have changed."""
        return {key for keys in self.all("changed") if keys is not None for key in keys}

    def send(self, *calls: StoreCall) -> int:
        """Send a group; return its number."""
        assert self.client is not None
        self._number += 1
        self.client.send(self._number, calls)
        return self._number

    async def ask(self, *calls: StoreCall, timeout_s: float = 10.0) -> Sequence[Any]:
        """Send a group and wait for its answers."""
        number = self.send(*calls)
        await eventually(lambda: number in self.answers, timeout_s, self)
        return self.answers.pop(number)

    def use(self, client: StoreClient) -> None:
        """Take the client to send by."""
        self.client = client


async def eventually(holds: Callable[[], Any], timeout_s: float = 10.0, about: Any = None) -> None:
    """Wait until something holds; on failure say what an owner was told."""
    try:
        await until(holds, timeout_s)
    except AssertionError:
        raise AssertionError(f"not in time: {getattr(about, 'told', about)}") from None


@asynccontextmanager
async def connecting(
    url: str, calls: StoreCalls | None = None, *, replicas: int = 0, **limits: Any
) -> AsyncIterator[Noting]:
    """A client that tries to connect."""
    owner = Noting()
    plan = StorePlan(
        parse_store_url(url), calls or calls_of(), replicas,
        StoreLimits(**{"connect_timeout_s": 3.0, "silence_timeout_s": 3.0, **limits}),
    )  # fmt: skip
    client = StoreClient(plan, owner)
    owner.use(client)
    client.start()
    try:
        yield owner
    finally:
        await client.close()


@asynccontextmanager
async def connected(
    url: str, calls: StoreCalls | None = None, **more: Any
) -> AsyncIterator[Noting]:
    """A client that is connected."""
    async with connecting(url, calls, **more) as owner:
        await eventually(lambda: owner.all("up"), 10.0, owner)
        yield owner


async def refused(url: str, calls: StoreCalls | None = None, **more: Any) -> str:
    """Why a store cannot be used."""
    async with connecting(url, calls, **more) as owner:
        await eventually(lambda: owner.reasons, 15.0, owner)
        assert not owner.all("up")
        return owner.reasons[0]
