"""Keeps what an application noted of a session's device fit to be shown.

The text often comes from the client, as a User-Agent does. Whoever lists sessions writes it into
terminals and pages, where control characters and those that turn the direction of writing let one
line pass for another. It is cleaned and cut, and not refused: a header must not fail a login.
"""

from itertools import islice

from clustersession.core.state import LABEL, SessionState

LABEL_LENGTH_MAX = 100
_READ_MAX = 16 * LABEL_LENGTH_MAX


def clean_label(text: str) -> str | None:
    """Return a label on one line, of printable characters, not too long; None if none is left."""
    plain = "".join(c if c.isprintable() else " " for c in islice(text, _READ_MAX))
    return " ".join(plain.split())[:LABEL_LENGTH_MAX].rstrip() or None


def read_label(data: bytes | None) -> str | None:
    """Return a stored label. It is cleaned again: another node may have stored anything."""
    return None if data is None else clean_label(data[: 4 * _READ_MAX].decode("utf-8", "replace"))


def label_of(state: SessionState) -> str | None:
    """Return the label of a copy; None without one, and once the session has ended."""
    register = state.registers.get(LABEL)
    return None if register is None else read_label(register.value)
