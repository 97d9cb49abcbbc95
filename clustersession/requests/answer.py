"""Writes into a response's headers what its client must know, the same for every adapter.

Clients without cookies (native apps, MCP) may send the id in the header ``header_name``, and are
answered in the same header, under these rules:

* only when there is something to say: a new id, one rewritten to another route, or, as an empty
  value, that the session has ended;
* only to a request that brought this header, or that brought no cookie and is not from a browser
  (browsers name the origin of a request in ``Sec-Fetch-Site``): scripts in a page must not be able
  to read what the cookie hides from them;
* a request that brought the header and no cookie gets no cookie either;
* with ``Cache-Control: no-store``: caches leave responses with a Set-Cookie alone, and know nothing
  of this header.
"""

from collections.abc import Iterable

from clustersession.session.outcome import Outcome
from clustersession.settings.settings import Settings

Lines = list[tuple[str, str]]


class AnswerWriter:
    """Makes the header lines of an outcome."""

    def __init__(self, settings: Settings) -> None:
        self._header = settings.header_name
        self._vary = ["Cookie", self._header] if self._header else ["Cookie"]
        self.only_vary = ("Vary", ", ".join(self._vary))

    def lines(self, outcome: Outcome, vary: Iterable[str]) -> Lines:
        """Return what to add to a response with these Vary headers; ``outcome.vary`` is set."""
        lines: Lines = []
        if outcome.set_cookie is not None:
            lines.append(("Set-Cookie", outcome.set_cookie))
        if outcome.set_seen_cookie is not None:
            lines.append(("Set-Cookie", outcome.set_seen_cookie))
        if outcome.delete_legacy_cookie is not None:
            lines.append(("Set-Cookie", outcome.delete_legacy_cookie))
        if outcome.set_header is not None:
            lines.append((self._header, outcome.set_header))
            lines.append(("Cache-Control", "no-store"))
        present = {field.strip().lower() for value in vary for field in value.split(",")}
        if "*" not in present:
            missing = [name for name in self._vary if name.lower() not in present]
            if missing:
                lines.append(("Vary", ", ".join(missing)))
        return lines
