"""Reads from the replica which nodes serve, as the agent has noted there."""

import threading
import time

from clustersession.core.errors import ReplicaError
from clustersession.core.serving_view import VIEW_NOTE, View
from clustersession.replica.replica import Replica

FRESH_S = 0.005
"""How long a view is used without another look, which is a tenth of what reading a session costs.
That a node has died is known after some milliseconds at best."""


class ServingRoutes:
    """Reads the agent's view, at most once in FRESH_S.

    ``_note`` is the view as it was read last, None before the first; ``_routes`` follows from it,
    and both change together, under the lock. ``_fresh_until_s`` is monotonic.
    """

    def __init__(self, own_route: str, replica: Replica) -> None:
        self._own_route = own_route
        self._replica = replica
        self._note: bytes | None = None
        self._routes = frozenset({own_route})
        self._fresh_until_s = 0.0
        self._lock = threading.Lock()

    def get(self) -> frozenset[str]:
        """Return the routes of nodes that serve; ours unless we drain. Not older than FRESH_S.

        Without a view, or when it cannot be read, it is what was known before.
        """
        now_s = time.monotonic()
        if now_s < self._fresh_until_s:
            return self._routes
        try:
            note = self._replica.load_note(VIEW_NOTE)
        except ReplicaError:
            return self._routes
        if note != self._note:
            with self._lock:
                view = View.decode(note)
                own = frozenset() if view.draining else frozenset({self._own_route})
                self._routes = (view.serving - {self._own_route}) | own
                self._note = note
        self._fresh_until_s = now_s + FRESH_S
        return self._routes
