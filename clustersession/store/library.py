"""Names the functions of a store, and what they answer."""

import re
from importlib.resources import files
from typing import Final

from clustersession.node.store_calls import MergeAnswer

LIBRARY: Final = "clustersession4"
"""Ends in the version of the form and of the answers."""

MERGE: Final = "clustersession4_merge"
SQUEEZE: Final = "clustersession4_squeeze"
"""Merges where the server is full, unless the session grows by it."""

CHANGE: Final = "clustersession4_change"
"""Merges what one write has changed, when that is simple. Answers MergeAnswer.DONE or SAME, else
AGENT_WANTED."""

AGENT_WANTED: Final = -5
BEAT: Final = "clustersession4_beat"
KEEP: Final = "clustersession4_keep"
ENTER: Final = "clustersession4_enter"
FUNCTIONS: Final = (MERGE, SQUEEZE, CHANGE, BEAT, KEEP, ENTER)
_WHERE_FULL: Final = frozenset((SQUEEZE, BEAT, KEEP, ENTER))
_FILES: Final = ("merge.lua", "users.lua", "change.lua", "beat.lua")
_REGISTER: Final = re.compile(
    r"^redis\.register_function(\(.*\)|\{[^}]*\{[^}]*\}\})\n", re.MULTILINE
)


def source() -> str:
    """Return the library's code, to be loaded by FUNCTION LOAD."""
    return "\n".join((files(__package__) / name).read_text() for name in _FILES)


def script(function: str) -> str:
    """Return one of the functions as a script for EVALSHA, for servers without functions."""
    # A script is not told its library, and returns what a function would.
    _, _, body = source().partition("\n")
    head = "#!lua flags=allow-oom" if function in _WHERE_FULL else "#!lua"
    return f"{head}\n{_REGISTER.sub('', body)}\nreturn {function.rpartition('_')[2]}(KEYS, ARGV)\n"


__all__ = ["AGENT_WANTED", "BEAT", "CHANGE", "ENTER", "FUNCTIONS", "KEEP", "LIBRARY", "MERGE",
           "SQUEEZE", "MergeAnswer", "script", "source"]
