"""Tells a balancer's health check whether users may be sent to this node.

The check is a request like any other, so the first one makes the node join. It asks the agent and
not the view that the agent left in the replica: that may be the word of one that is long gone. A
node without an agent still serves, but the others cannot hear what it writes.
"""

import logging
from typing import NamedTuple

from clustersession.core.errors import ClusterSessionError
from clustersession.worker.agent_client import NO_AGENT, READY
from clustersession.worker.runtime import Runtime

_log = logging.getLogger("clustersession")

# What was logged last: checks come several times a second, and the reason rarely changes.
_said: list[str] = []

_REASONS = {
    READY: "ready",
    "joining": "joining: it has not yet loaded what the others hold",
    "draining": "draining: users are to go to other nodes",
    "leaving": "leaving",
    NO_AGENT: "no agent: writes do not reach the other nodes",
}


class Readiness(NamedTuple):
    """Answers a check: HTTP status and one line of plain text."""

    status: int
    text: str

    @property
    def status_line(self) -> str:
        """Return the status as WSGI wants it."""
        return "200 OK" if self.status == 200 else "503 Service Unavailable"

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Return the headers: no cache between balancer and node may answer in its place."""
        return [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(self.body))),
            ("Cache-Control", "no-store"),
        ]

    @property
    def body(self) -> bytes:
        """Return the text as it is sent, unless the method is HEAD."""
        return f"{self.text}\n".encode()


def readiness(runtime: Runtime) -> Readiness:
    """Ask, and join the cluster if this process has not; a node that cannot work is not ready."""
    try:
        return judge(runtime.phase())
    except ClusterSessionError as error:
        return _unusable(error)


async def readiness_async(runtime: Runtime) -> Readiness:
    """Do what ``readiness`` does, without blocking the event loop while the agent answers."""
    try:
        return judge(await runtime.phase_async())
    except ClusterSessionError as error:
        return _unusable(error)


def judge(phase: str) -> Readiness:
    """Answer for what the agent says that the node is doing, or NO_AGENT in the place of it."""
    return Readiness(200 if phase == READY else 503, _REASONS.get(phase, phase))


def _unusable(error: ClusterSessionError) -> Readiness:
    # Whoever asks may be a stranger: paths and settings are for the log.
    if _said != [str(error)]:
        _said[:] = [str(error)]
        _log.error("this node cannot serve sessions: %s", error)
    return Readiness(503, "this node cannot serve sessions; its log says why")
