"""Says what a commit asks of the response."""

from typing import NamedTuple

from clustersession.session.visit import Visit


class Outcome(NamedTuple):
    """Says what headers a response needs. ``set_cookie``: a whole Set-Cookie value or None.

    ``set_seen_cookie``: one more Set-Cookie value, only with ``consistency="causal"``.
    ``delete_legacy_cookie``: one more, only with ``legacy_cookie_name``.
    ``set_header``: a value for the header ``header_name``, see ``requests.answer``.
    """

    set_cookie: str | None = None
    vary: bool = False
    set_seen_cookie: str | None = None
    set_header: str | None = None
    delete_legacy_cookie: str | None = None


NOTHING = Outcome()
VARY = Outcome(vary=True)


def tell(visit: Visit, cookie: str, value: str) -> Outcome:
    """Set the cookie, or answer in the header, or both: see ``requests.answer``."""
    if not visit.by_header:
        return Outcome(cookie, True)
    return Outcome(cookie if visit.by_cookie else None, True, None, value)
