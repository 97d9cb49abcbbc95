"""Is the serving view: who serves, which the agent leaves the workers to route by."""

from typing import NamedTuple

VIEW_NOTE = "view"


class View(NamedTuple):
    """Says which nodes serve users.

    serving: the routes of members that are ready, not draining and have a worker. draining: this
    node moves its users away.
    """

    serving: frozenset[str]
    draining: bool

    def encode(self) -> bytes:
        """Encode as it stands in the replica's notes. Routes hold neither comma nor ``!``."""
        return (",".join(sorted(self.serving)) + ("!" if self.draining else "")).encode()

    @classmethod
    def decode(cls, data: bytes | None) -> "View":
        """Decode what the agent wrote last; no note reads as an empty view.

        Further lines are of a later version.
        """
        text = (data or b"").decode(errors="replace").partition("\n")[0]
        routes = text.removesuffix("!").split(",")
        return cls(frozenset(route for route in routes if route), text.endswith("!"))
