"""Asks a store one group of calls at a time, for tools: no node stands behind it."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from clustersession.core.errors import StoreError
from clustersession.net.store.open_store import OpenStore, StorePlan
from clustersession.node.store_calls import StoreCall

ANSWER_TIMEOUT_S: Final = 3.0


class StoreAsker:
    """Sends one group at a time, and notes which sessions others have written.

    changed: those since whoever reads it has emptied it. any_changed: perhaps all have. heard: set
    with either.
    """

    def __init__(self, plan: StorePlan) -> None:
        self.store = OpenStore(plan, self)
        self.changed: set[str] = set()
        self.any_changed = False
        self.heard = asyncio.Event()
        self._answers: asyncio.Future[Sequence[Any]] | None = None

    @property
    def lost(self) -> StoreError | None:
        """Return why the store is lost; None while it is there."""
        return self.store.lost.result() if self.store.lost.done() else None

    async def ask(self, *calls: StoreCall) -> Sequence[Any]:
        """Return the answers. Raises StoreError."""
        self._answers = asyncio.get_running_loop().create_future()
        self.store.send(0, calls)
        await asyncio.wait(
            (self._answers, self.store.lost), timeout=ANSWER_TIMEOUT_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if self._answers.done():
            return self._answers.result()
        raise self.lost or StoreError("the store does not answer in time")

    def store_up(self) -> None:
        """Know it already."""

    def store_down(self, reason: str) -> None:
        """Know it already."""

    def store_answered(self, number: int, answers: Sequence[Any]) -> None:
        """Pass them on."""
        if self._answers is not None and not self._answers.done():
            self._answers.set_result(answers)

    def store_changed(self, keys: frozenset[str] | None) -> None:
        """Note it."""
        self.any_changed = self.any_changed or keys is None
        self.changed |= keys or set()
        self.heard.set()

    def store_warned(self, text: str) -> None:
        """Leave it: this asks for no replicas."""
