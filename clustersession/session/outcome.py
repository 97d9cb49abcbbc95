"""What a commit asks of the response."""

from typing import NamedTuple


class Outcome(NamedTuple):
    """``set_cookie``: a whole Set-Cookie value or None. ``vary``: add ``Vary: Cookie``.

    ``set_seen_cookie``: one more Set-Cookie value, only with ``consistency="causal"``.
    ``set_header``: a value for the header ``header_name``, see ``session.answer``.
    """

    set_cookie: str | None = None
    vary: bool = False
    set_seen_cookie: str | None = None
    set_header: str | None = None


NOTHING = Outcome()
VARY = Outcome(vary=True)
