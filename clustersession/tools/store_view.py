"""Says of a store what people see at a glance, from a status: pure, and the same words everywhere.

An agent of an older version tells less; what it does not tell is left out.
"""

from typing import Any

REACHED, SLOW, FULL, AWAY = "reached", "slow", "full", "away"


def store_word(store: dict[str, Any]) -> str:
    """Say in one word how it is."""
    if store["state"] != REACHED:
        return FULL if store["state"] == FULL else AWAY
    return SLOW if store.get("slow") else REACHED


def store_place(store: dict[str, Any]) -> str:
    """Say where it is, without login."""
    return str(store.get("where") or ", ".join(store.get("servers", ())) or "-")


def store_line(store: dict[str, Any]) -> str:
    """Say on one line how it is, since when, why, and what waits for it."""
    word, line = store_word(store), f"store {store_place(store)}: "
    line += word.upper() if word != REACHED else word
    line += f" for {span(store['since_s'])}" if word != SLOW else ""
    if store["round_trip_ms"] is not None:
        line += f", {store['round_trip_ms']} ms"
    line += f"; {waiting_text(store)}"
    if store.get("refused"):
        line += f"; {refused_text(store)}"
    if _compares(store):
        line += "; what is here is being compared with it"
    if store.get("drops"):
        line += "; it is full and DROPS sessions: raise its maxmemory, set noeviction"
    return line + (f"; {store['reason']}" if store["reason"] else "")


def store_advice(store: dict[str, Any]) -> str:
    """Say what goes on meanwhile and what to do, while it is away or full; else empty."""
    if store_word(store) == FULL:
        return (
            "New sessions and what makes one larger stay on this node until there is space; the "
            "rest goes on. Raise its maxmemory. What it refused is told again by itself."
        )
    if store_word(store) != AWAY:
        return ""
    return (
        "This node serves the sessions that it holds, and does not find those of others meanwhile. "
        "Mend what the reason says. A store that comes back, even empty, is told by itself all "
        "that the nodes hold."
    )


def store_facts(store: dict[str, Any], work: dict[str, int]) -> list[tuple[str, str]]:
    """List everything that is known of it, as pairs of label and value."""
    word = store_word(store)
    state = f"{store_place(store)}, {word} for {span(store['since_s'])}"
    state += ", what is here is being compared with it" if _compares(store) else ""
    facts = [("store", f"{state}: {store['reason']}" if store["reason"] else state)]
    if advice := store_advice(store):
        facts.append(("what to do", advice))
    if word != AWAY:
        facts.append(("store servers", ", ".join(store["servers"]) or "-"))
    if store["round_trip_ms"] is not None:
        facts.append(("store round trip", f"{store['round_trip_ms']} ms"))
    facts.append(("store behind", waiting_text(store)))
    if store.get("refused"):
        facts.append(("store refused", refused_text(store)))
    if "evicted" in store:
        facts += [("store reads", reads_text(store, work)), ("store evictions", _dropped(store))]
        if errors := errors_text(store):
            facts.append(("store errors", errors))
    return facts


def _compares(store: dict[str, Any]) -> bool:
    return store_word(store) != AWAY and not store.get("compared", True)


def waiting_text(store: dict[str, Any]) -> str:
    """Say how much waits for it, and how long the oldest of that has waited."""
    count, oldest_s = store["behind"], store.get("oldest_s")
    text = f"{count} change{'' if count == 1 else 's'} wait{'s' if count == 1 else ''}"
    return text if not count or oldest_s is None else f"{text}, the oldest for {span(oldest_s)}"


def refused_text(store: dict[str, Any]) -> str:
    """Say how much it had no space for."""
    count = store["refused"]
    return f"it has no space for {count} session{'' if count == 1 else 's'}"


def reads_text(store: dict[str, Any], work: dict[str, int]) -> str:
    """Say how often a session was missed here, and how often a copy was brought up to date."""
    return (
        f"{work.get('fetches', 0)} misses here, {work.get('fetched', 0)} of them found; "
        f"{store['refreshed']} refreshes"
    )


def _dropped(store: dict[str, Any]) -> str:
    text = f"{store['evicted']} sessions left this node; {store['dropped']} keys dropped there"
    if store["memory_bytes"] is None:
        return text
    bound = store["memory_bytes_max"]
    of = f"of {bound / 2**20:.0f} MiB" if bound else "without a bound"
    return f"{text}, which uses {store['memory_bytes'] / 2**20:.1f} MiB {of}"


def errors_text(store: dict[str, Any]) -> str:
    """List how often it was lost or not to be had, by kind; empty for never."""
    counted = [(kind, count) for kind, count in store.get("errors", {}).items() if count]
    return ", ".join(f"{kind.replace('_', ' ')}: {count}" for kind, count in counted)


def span(seconds: float) -> str:
    """Write how long something has lasted."""
    for unit, length_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds / length_s:.1f} {unit}"
    return f"{seconds:.1f} s"
