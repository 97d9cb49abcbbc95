"""Verifies what a client sends as its id, and remembers what was verified once."""

from typing import NamedTuple

from clustersession.core.ids import split_cookie
from clustersession.core.memo import Memo
from clustersession.session.token import IdSigner

_VALUES_MAX = 4096


class Candidate(NamedTuple):
    """Is an authentic id, with the key of its session and the route that came with it."""

    identifier: str
    key: str
    route: str | None


class Authenticator:
    """Reads cookie values that one signer has signed.

    _known: authentic values, at most _VALUES_MAX. A forger cannot push them out, and is not
    remembered: only the route of a value is free to vary, and it is short.
    """

    def __init__(self, signer: IdSigner) -> None:
        self._signer = signer
        self._known: Memo[str, Candidate] = Memo(_VALUES_MAX)

    def candidate(self, value: str) -> Candidate | None:
        """Return what a cookie value names; None when it was forged, or is no id at all."""
        known = self._known.get(value)
        if known is not None:
            return known
        parsed = split_cookie(value)
        key = None if parsed is None else self._signer.key_of(parsed[0])
        if parsed is None or key is None:
            return None
        found = Candidate(parsed[0], key, parsed[1])
        self._known.put(value, found)
        return found
