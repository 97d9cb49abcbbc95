"""What an application does so that two requests for one session overlap."""

import time
from collections.abc import Mapping, MutableMapping
from typing import Any

PAUSE_S = 0.01
"""Between a request's reading and its writing: both have read before one has written."""


def is_pair(action: str) -> bool:
    """Whether this is one of two requests that are sent together."""
    return action.startswith("pair")


def look(session: Mapping[str, Any]) -> None:
    """Have the session loaded."""
    session.get("user")


def write_slowly(action: str, session: MutableMapping[str, Any]) -> None:
    """Read, take some time, write an attribute that no other request writes."""
    look(session)
    time.sleep(PAUSE_S)
    session[action] = True
