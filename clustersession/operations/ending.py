"""Finds sessions and ends them, beside the processes that serve."""

import time
from typing import NamedTuple

from clustersession.core.ids import KEY_LENGTH, log_name
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import ENDED_REVOKED, Change, SessionState
from clustersession.net.agent_link import AgentGone, BlockingLink
from clustersession.replica.home import NodeHome
from clustersession.replica.replica import Replica
from clustersession.session.events import Events
from clustersession.session.users import end_the_rest, handle_of, revoke_all
from clustersession.settings.settings import Settings
from clustersession.wire.local import Operation

PAGE = 500
CONFIRM_TIMEOUT_S = 5.0
NAME_LENGTH_MIN = 8


class EndResult(NamedTuple):
    """Says what an end came to. ``peers``: other nodes that hold it already; None: no agent."""

    sessions: int
    peers: int | None


def find_session(replica: Replica, identifier: str) -> tuple[str, SessionState] | None:
    """Find a session by its cookie value, its id, its handle, or the hash that logs show."""
    key = identifier.partition(".")[0][:KEY_LENGTH]
    state = replica.get(key) if len(key) == KEY_LENGTH else None
    if state is not None:
        return key, state
    if len(identifier) < NAME_LENGTH_MIN:
        return None
    after = ""
    while keys := replica.keys(after, PAGE):
        after = keys[-1]
        for key in keys:
            if identifier in (log_name(key), handle_of(key)) and key[0] != RESERVED_PREFIX:
                state = replica.get(key)
                return None if state is None else (key, state)
    return None


def end_session(replica: Replica, home: NodeHome, key: str) -> EndResult:
    """End one session everywhere."""
    now_ms = _now_ms()
    committed = replica.commit([Change(key, now_ms, end=ENDED_REVOKED)], now_ms)
    if not committed.effective:
        return EndResult(0, 0)
    return EndResult(1, peers_holding(home, committed.head))


def end_principal(replica: Replica, home: NodeHome, settings: Settings, user: str) -> EndResult:
    """End all sessions of a user everywhere, those that this node does not know of too."""
    done = revoke_all(replica, Events(), settings, user, _now_ms())
    ended = done.ended + end_the_rest(replica, Events())
    return EndResult(ended, peers_holding(home, done.head))


def end_text(result: EndResult) -> str:
    """Say what an end came to, in one line."""
    number = f"{result.sessions} session{'' if result.sessions == 1 else 's'} ended"
    if result.peers is None:
        return f"{number}; the agent did not answer: other nodes hear of it when it does"
    return f"{number}; held by {result.peers} other node{'' if result.peers == 1 else 's'}"


def peers_holding(home: NodeHome, head: int) -> int | None:
    """Ask how many other nodes hold our feed up to there; None without an agent."""
    timeout_ms = int(CONFIRM_TIMEOUT_S * 1000)
    try:
        link = BlockingLink(home.agent_socket)
    except AgentGone:
        return None
    try:
        answer = link.ask(
            Operation.CONFIRM, head, True, timeout_ms, timeout_s=CONFIRM_TIMEOUT_S + 1
        )
    except (AgentGone, TimeoutError):
        return None
    finally:
        link.close()
    return max(answer, 0) if isinstance(answer, int) else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
