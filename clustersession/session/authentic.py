"""From what a client sends to the key of a session: what was verified once is remembered."""

from typing import NamedTuple

from clustersession.core.ids import split_cookie
from clustersession.core.memo import Memo
from clustersession.session.token import IdSigner

_VALUES_MAX = 4096


class Candidate(NamedTuple):
    """An authentic id, the key of its session, and the route that came with it."""

    identifier: str
    key: str
    route: str | None


class Authenticator:
    """Reads cookie values of one signer."""

    def __init__(self, signer: IdSigner) -> None:
        self._signer = signer
        # Only authentic ones: a forger cannot push them out, and is not remembered.
        self._known: Memo[str, Candidate] = Memo(_VALUES_MAX)

    def candidate(self, value: str) -> Candidate | None:
        """What a cookie value names; None when it was forged, or is no id at all."""
        known = self._known.get(value)
        if known is not None:
            return known
        parsed = split_cookie(value)
        key = None if parsed is None else self._signer.key_of(parsed[0])
        if parsed is None or key is None:
            return None
        found = Candidate(parsed[0], key, parsed[1])
        # Only the route is free to vary, and it is short.
        self._known.put(value, found)
        return found
