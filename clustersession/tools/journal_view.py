"""Says of a journal and of a recovery what people see, from a status: the same words everywhere.

An agent of an older version tells nothing of them.
"""

from collections.abc import Mapping
from typing import Any

from clustersession.operations.recovering import recovery_text


def journal_word(status: Mapping[str, Any]) -> str:
    """Say in one word how the journal is; empty where nothing is told of one."""
    journal = status.get("journal")
    if not journal:
        return ""
    return "away" if journal.get("failed") else str(journal["durability"])


def journal_text(status: Mapping[str, Any]) -> str:
    """Say how the journal is, and why; empty where nothing is told of one."""
    journal, word = status.get("journal"), journal_word(status)
    if not journal or word == "none":
        return word
    if word == "away":
        return f"AWAY: {journal['failed']}; sessions do not survive a power cut of all nodes"
    # Without the time of the last sync: where nothing is written it only grows.
    synced = ", nothing on the disk yet" if journal["synced_s_ago"] is None else ""
    return f"{word}, {journal['bytes']} bytes{synced}"


def recovery_line(status: Mapping[str, Any]) -> str:
    """Say how far a recovery is; empty while there is nothing to recover."""
    recovery = status.get("recovery")
    if not recovery or recovery["stage"] == "over":
        return ""
    return recovery_text(recovery)
