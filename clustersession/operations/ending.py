"""Ends sessions, beside the processes that serve."""

import time
from contextlib import suppress
from typing import NamedTuple

from clustersession.core.state import ENDED_REVOKED, Change
from clustersession.net.agent_link import AgentGone, BlockingLink
from clustersession.operations.finding import gather
from clustersession.replica.home import NodeHome
from clustersession.replica.journal.ends import keep_ends
from clustersession.replica.journal.segments import read_mark
from clustersession.replica.replica import Replica
from clustersession.session.events import Events
from clustersession.session.users import end_the_rest, revoke_all
from clustersession.settings.settings import Settings
from clustersession.wire.local import Operation

CONFIRM_TIMEOUT_S = 5.0


class EndResult(NamedTuple):
    """Says what an end came to. ``peers``: other nodes that hold it already; None: no agent."""

    sessions: int
    peers: int | None


def end_session(replica: Replica, home: NodeHome, key: str) -> EndResult:
    """End one session everywhere."""
    now_ms = _now_ms()
    committed = replica.commit([Change(key, now_ms, end=ENDED_REVOKED)], now_ms)
    if not committed.effective:
        return EndResult(0, 0)
    return EndResult(1, _kept_by(replica, home, committed.head))


def end_principal(replica: Replica, home: NodeHome, settings: Settings, user: str) -> EndResult:
    """End all sessions of a user everywhere, those that this node does not know of too."""
    gather(home, user)
    done = revoke_all(replica, Events(), settings, user, _now_ms())
    ended = done.ended + end_the_rest(replica, Events())
    return EndResult(ended, _kept_by(replica, home, done.head))


def end_text(result: EndResult) -> str:
    """Say what an end came to, in one line."""
    number = f"{result.sessions} session{'' if result.sessions == 1 else 's'} ended"
    if result.peers is None:
        return f"{number}; the agent did not answer: other nodes hear of it when it does"
    return f"{number}; held by {result.peers} other node{'' if result.peers == 1 else 's'}"


def _kept_by(replica: Replica, home: NodeHome, head: int) -> int | None:
    """Return how many other nodes hold an end; without an agent, bring it to our own disk."""
    peers = peers_holding(home, head)
    if peers is None and read_mark(home.journal) is not None:
        # Whoever keeps the journal reads it from the feed a second later.
        with suppress(OSError):
            keep_ends(home.journal, replica, head)
    return peers


def peers_holding(home: NodeHome, head: int) -> int | None:
    """Ask how many other nodes hold our feed up to there; None without an agent."""
    timeout_ms = int(CONFIRM_TIMEOUT_S * 1000)
    try:
        link = BlockingLink(home.agent_socket)
    except AgentGone:
        return None
    try:
        answer = link.ask(
            Operation.CONFIRM, head, True, timeout_ms, True, timeout_s=CONFIRM_TIMEOUT_S + 1
        )
    except (AgentGone, TimeoutError):
        return None
    finally:
        link.close()
    return max(answer, 0) if isinstance(answer, int) else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
