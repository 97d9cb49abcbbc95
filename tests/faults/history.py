"""What a client did, and what it was told: the history that is judged."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What a client knows of one of its requests."""

    ACKNOWLEDGED = "acknowledged"
    """The response says that it was done."""
    REFUSED = "refused"
    """There was no connection: it was certainly not done."""
    UNKNOWN = "unknown"
    """No response, in time or at all: it may have been done, or may be done later."""
    ERROR = "error"
    """A response with a status of 500 or more; done or not."""
    MISSING = "missing"
    """The node says that there is no such session."""
    UNSTORED = "unstored"
    """A response that ought to carry a new cookie and does not: it was not done."""


GHOST = "ghost"
"""The kind of a write under an id that its client has ended: whatever comes of it must go."""

MAY_BE_DONE = frozenset({Outcome.ACKNOWLEDGED, Outcome.UNKNOWN, Outcome.ERROR})


@dataclass(slots=True)
class Operation:
    """One request. Ids are the part of the cookie before the route; times are wall seconds.

    ``owner`` names the session it belongs to, whatever its id is at the time, and ``node`` the
    node that was asked. ``data`` is what an acknowledged request saw in the session.
    """

    owner: str
    kind: str
    value: str
    node: str
    sent_id: str
    began_s: float
    took_s: float = 0.0
    outcome: Outcome = Outcome.UNKNOWN
    new_id: str = ""
    status: int = 0
    data: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Operation":
        """The inverse of ``to_json``."""
        return cls(**{**plain, "outcome": Outcome(plain["outcome"])})
