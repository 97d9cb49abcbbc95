"""Hears the agent's events, of expiry and of other nodes, and calls the application's callbacks."""

import threading
from typing import Any

from clustersession.core.errors import WireError
from clustersession.core.transitions import CHANGED, CREATED, ENDED, EXPIRED, Transition
from clustersession.session.events import Events, event_of
from clustersession.wire.records import checked_key, decode_state
from clustersession.worker.agent_client import AgentClient

FROM_PEERS = (CREATED, CHANGED, ENDED)


class AgentEvents:
    """Tells the applications of one process what their agent tells.

    agent_client: None where there is no agent, and then nothing is told. everywhere: whether what
    happens on other nodes is of interest, besides expiry.
    """

    def __init__(self, agent_client: AgentClient | None, everywhere: bool) -> None:
        self._agent_client = agent_client
        self._everywhere = everywhere
        # One for each runtime of the node; the list only grows, under the lock.
        self._all: list[Events] = []
        self._lock = threading.Lock()

    def add(self, events: Events) -> None:
        """Tell an application too; it may ask for events now or later."""
        with self._lock:
            if events not in self._all:
                self._all.append(events)
        events.on_listen = self._ask
        self._ask()

    def _ask(self) -> None:
        """Ask the agent for what somebody here wants to hear, and for nothing else."""
        wanted = FROM_PEERS if self._everywhere else ()
        from_peers = any(e.wants(kind) for e in self._all for kind in wanted)
        wants_any = from_peers or any(e.wants(EXPIRED) for e in self._all)
        if wants_any and self._agent_client is not None:
            self._agent_client.listen(self._everywhere, self._heard)

    def _heard(self, event: list[Any]) -> None:
        kind, key, data, names, reason = event[:5]
        try:
            state = None if data is None else decode_state(data)
            happened = Transition(
                str(kind), checked_key(key), tuple(map(str, names)), reason, state
            )
            told = event_of(happened, here=False)
        except (WireError, TypeError):
            return
        for events in list(self._all):
            events.add(told)
            events.deliver()
