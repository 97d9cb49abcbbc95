"""Finds sessions, and has the agent bring to this host what is only in the store."""

from clustersession.core.ids import KEY_LENGTH, log_name
from clustersession.core.revocation import RESERVED_PREFIX, principal_tag
from clustersession.core.state import SessionState
from clustersession.net.agent_link import AgentGone, BlockingLink
from clustersession.replica.home import NodeHome
from clustersession.replica.replica import Replica
from clustersession.session.users import handle_of
from clustersession.wire.local import Operation

PAGE = 500
NAME_LENGTH_MIN = 8
TIMEOUT_S = 5.0
"""Longer than ``fetch_timeout_s``, within which an agent answers."""

HERE_ONLY = "the store or the agent does not answer: what is shown is what this host holds"


def gather(home: NodeHome, user: str) -> bool | None:
    """Bring a user's sessions here; False: there may be others that this host does not hold.

    None: there is no agent to say so.
    """
    answer = _ask(home, Operation.GATHER, principal_tag(user))
    return answer if isinstance(answer, bool) else None


def bring(home: NodeHome, replica: Replica, identifier: str) -> tuple[str, SessionState] | None:
    """Find a session as ``find_session`` does, or bring it here.

    The latter by its whole id or cookie value; a name in a log says too little.
    """
    found = find_session(replica, identifier)
    key = identifier.partition(".")[0][:KEY_LENGTH]
    if found is None and len(key) == KEY_LENGTH and _ask(home, Operation.FETCH, key) is True:
        found = find_session(replica, identifier)
    return found


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


def _ask(home: NodeHome, operation: Operation, argument: object) -> object:
    try:
        link = BlockingLink(home.agent_socket)
    except AgentGone:
        return None
    try:
        answer: object = link.ask(operation, argument, timeout_s=TIMEOUT_S)
        return answer
    except (AgentGone, TimeoutError):
        return None
    finally:
        link.close()
