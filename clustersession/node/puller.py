"""Asks a peer for whole copies, one answer of bounded size at a time: nothing piles up."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from clustersession.core.errors import ReplicaError
from clustersession.core.state import SessionState
from clustersession.node.context import Context, copy_bytes_max
from clustersession.node.moment import Moment
from clustersession.wire.fields import LISTED_MAX
from clustersession.wire.messages import Sessions, SessionsRequest

ANSWER_BYTES_MAX = 32 * 1024
"""Half a page of a snapshot, so that neither side is held up for long."""
ASKED_MAX = 128
"""How many sessions are asked for at a time: about as many as an answer holds, if they are small.
"""
ANSWER_TIMEOUT_S = 5.0
PENDING_MAX = 2 * LISTED_MAX


@dataclass(slots=True)
class Wanted:
    """Holds the sessions that are still to come from one peer.

    keys: the order in which they were and will be asked for; the first ASKED_MAX are under way.
    asked_s: when they were asked for. An answer that takes longer than ANSWER_TIMEOUT_S is not
    expected any more.
    """

    keys: list[str]
    asked_s: float


class Puller:
    """Fetches any number of whole sessions from a peer, answer by answer."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # By peer, while anything is to come from it; never an entry without keys.
        self._wanted: dict[bytes, Wanted] = {}

    def pull(
        self, node: bytes, keys: Sequence[str], at: Moment, *, first: bool = False
    ) -> None:
        """Ask a peer for whole copies of sessions; with PENDING_MAX under way, only for these.

        ``first``: before all that is not under way yet; somebody waits for them.
        """
        wanted = self._wanted.get(node)
        patient = wanted is not None and at.now_s - wanted.asked_s < ANSWER_TIMEOUT_S
        if wanted is not None and patient and len(wanted.keys) < PENDING_MAX:
            known = set(wanted.keys[:ASKED_MAX] if first else wanted.keys)
            place = ASKED_MAX if first else len(wanted.keys)
            new = [key for key in keys if key not in known]
            if first:
                moved = set(new)
                wanted.keys[place:] = [key for key in wanted.keys[place:] if key not in moved]
            wanted.keys[place:place] = new
        elif keys:
            self._wanted[node] = Wanted(list(keys), at.now_s)
            self._ask(node, at)

    def pending(self, node: bytes) -> Collection[str]:
        """Return the sessions that are still to come from a peer."""
        wanted = self._wanted.get(node)
        return () if wanted is None else wanted.keys

    def on_request(self, node: bytes, message: SessionsRequest) -> None:
        """Send the first copies that fit; whoever wants the others asks again."""
        page: list[tuple[str, SessionState]] = []
        bytes_left = ANSWER_BYTES_MAX
        for key in message.keys:
            state = self._context.replica.get(key)
            if state is None or not self._context.fits(key, state):
                continue
            bytes_left -= copy_bytes_max(state)
            if bytes_left < 0 and page:
                break
            page.append((key, state))
        self._context.send(node, Sessions(tuple(page)))

    def on_sessions(self, node: bytes, message: Sessions, at: Moment) -> int:
        """Adopt copies that we asked for; returns how many changed us."""
        wanted = self._wanted.get(node)
        if wanted is None:
            return 0
        try:
            changed = self._context.merge(message.sessions, at)
        except ReplicaError:
            # The disk may be full. This answer is gone, so whoever wants them must ask anew.
            self.forget(node)
            raise
        asked = wanted.keys[:ASKED_MAX]
        last = message.sessions[-1][0] if message.sessions else ""
        if last and last not in asked:
            # The answer to what was wanted before; the one to this is still to come.
            return changed
        # What was passed over before the last one, or all of it, the peer does not have.
        done = asked.index(last) + 1 if last else len(asked)
        del wanted.keys[:done]
        if wanted.keys:
            self._ask(node, at)
        else:
            del self._wanted[node]
        return changed

    def forget(self, node: bytes) -> None:
        """Ask a node no more whose connection is gone."""
        self._wanted.pop(node, None)

    def _ask(self, node: bytes, at: Moment) -> None:
        wanted = self._wanted[node]
        wanted.asked_s = at.now_s
        self._context.send(node, SessionsRequest(tuple(wanted.keys[:ASKED_MAX])))
