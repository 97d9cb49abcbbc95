"""What an application does so that two requests for one session overlap."""

import os
import time
from collections.abc import Mapping
from typing import Any

PAUSE_S = 0.01
"""Between a request's reading and its writing: both have read before one has written."""

MERGING = "BENCH_MERGING"
"""Where it is set, collections are of the types that merge."""

BEGIN, KEPT, AT_ONCE = "/collections", "/kept", ("/paircollecta", "/paircollectb")
"""Has a session hold empty collections; tells how much they hold; two that change them."""


def is_pair(action: str) -> bool:
    """Whether this is one of two requests that are sent together."""
    return action.startswith("pair")


def look(session: Mapping[str, Any]) -> None:
    """Have the session loaded."""
    session.get("user")


def write_slowly(action: str, session: Any) -> None:
    """Read, take some time, write."""
    look(session)
    time.sleep(PAUSE_S)
    write(action, session)


def write(action: str, session: Any) -> None:
    """Write an attribute that no other request writes, or change the collections of all."""
    if f"/{action}" not in AT_ONCE:
        session[action] = True
        return
    # Assigned, for not everybody notices what changes inside.
    session["list"] = _with(session["list"], action)
    session["set"] = _with(session["set"], action)
    session["number"] = session["number"] + 1


def _with(collection: Any, item: str) -> Any:
    add = collection.append if isinstance(collection, list) else collection.add
    add(item)
    return collection


def begin_collections(session: Any) -> None:
    """Have a session hold a list, a set and a number with nothing in them."""
    if MERGING in os.environ:
        from clustersession import Counter, MergingList, MergingSet

        session["list"], session["set"], session["number"] = MergingList(), MergingSet(), Counter()
    else:
        session["list"], session["set"], session["number"] = [], [], 0


def kept(session: Any) -> str:
    """How many items the collections hold, and the number."""
    return f"{len(session['list'])},{len(session['set'])},{session['number']}"
