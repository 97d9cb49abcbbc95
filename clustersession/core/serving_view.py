"""The view of the cluster that the agent leaves for the workers to route by."""

from typing import NamedTuple

VIEW_NOTE = "view"


class View(NamedTuple):
    """Routes of members that are ready, not draining and have a worker; whether we drain."""

    serving: frozenset[str]
    draining: bool

    def encode(self) -> bytes:
        """As it stands in the replica's notes. Routes hold neither comma nor exclamation mark."""
        return (",".join(sorted(self.serving)) + ("!" if self.draining else "")).encode()

    @classmethod
    def decode(cls, data: bytes | None) -> "View":
        """What the agent wrote last; nothing known reads as an empty view.

        Further lines are of a later version.
        """
        text = (data or b"").decode(errors="replace").partition("\n")[0]
        routes = text.removesuffix("!").split(",")
        return cls(frozenset(route for route in routes if route), text.endswith("!"))
