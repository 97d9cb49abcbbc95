"""Tells how far a recovery after a power cut is, and has it do without members that are lost."""

from collections.abc import Sequence
from typing import Any

from clustersession.core.errors import ClusterSessionError
from clustersession.net.agent_link import AgentGone
from clustersession.operations.nodes import ask_agent
from clustersession.replica.home import NodeHome
from clustersession.wire.local import Operation


class NothingToRecover(ClusterSessionError):
    """The node has no agent, keeps no journal, or is told of a member that is not missing."""


def recovery(home: NodeHome) -> dict[str, Any]:
    """Return how far the recovery is. Raises NothingToRecover."""
    try:
        status = ask_agent(home, Operation.STATUS)
    except AgentGone:
        raise NothingToRecover("this node has no agent that could recover anything") from None
    found: dict[str, Any] | None = status.get("recovery")
    if found is None:
        raise NothingToRecover("this node keeps no journal")
    return found


def do_without(home: NodeHome, names: Sequence[str]) -> dict[str, Any]:
    """Recover without some members, by route or node id; returns how far it is then.

    Raises NothingToRecover for a name of which no missing member is called.
    """
    missing = recovery(home)["missing"]
    nodes: list[str] = []
    for name in names:
        found = [node for node, route in missing.items() if name == route or node.startswith(name)]
        if not found:
            waits = ", ".join(f"{route} ({node})" for node, route in missing.items()) or "nobody"
            raise NothingToRecover(f"{name} is not waited for; recovery waits for {waits}")
        nodes += found
    ask_agent(home, Operation.DISMISS, [bytes.fromhex(node) for node in nodes])
    return recovery(home)


def recovery_text(found: dict[str, Any]) -> str:
    """Say how far a recovery is, in one line."""
    if found["stage"] == "over":
        merged = found["merged"]
        return f"nothing waits; {merged} changes were recovered" if merged else "nothing waits"
    missing = ", ".join(f"{route} ({node})" for node, route in found["missing"].items())
    waits = f"; waits for {missing}, at most {found['left_s']:.0f} s more" if missing else ""
    return f"{found['stage']}{waits}"
