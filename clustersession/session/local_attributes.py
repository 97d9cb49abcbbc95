"""Finds the stored names of attributes that stay on their node.

What is local is marked in the stored name and not by the settings of whoever sends sessions to
peers, so that an agent with other settings than the workers gives nothing away.
"""

import re
from collections.abc import Mapping, Sequence

from clustersession.core.elements import ElementWrites, element_name
from clustersession.core.state import LOCAL_PREFIX, SYSTEM_PREFIX, Register
from clustersession.session.lifetimes import PERMANENT

Writes = tuple[dict[str, bytes], tuple[str, ...]]


class LocalAttributes:
    """Holds the patterns of the setting ``local_attributes``; ``_permanent`` is never local."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._full_matches = [re.compile(pattern).fullmatch for pattern in patterns]
        self.any = bool(patterns)

    def place(
        self, sets: Mapping[str, bytes], deletes: Sequence[str], stored: Mapping[str, Register]
    ) -> Writes:
        """Return the same writes by stored names, for a session that holds these registers.

        A name stored the other way, from a time of other patterns, is deleted there.
        """
        placed: dict[str, bytes] = {}
        gone: list[str] = []
        for name, data in sets.items():
            if name.startswith(SYSTEM_PREFIX):
                placed[name] = data
                continue
            here, there = LOCAL_PREFIX + name, name
            if not self._matches(name):
                here, there = there, here
            placed[here] = data
            gone.append(there)
        for name in deletes:
            gone += (name, LOCAL_PREFIX + name)
        return placed, tuple(
            name for name in gone if name in stored and stored[name].value is not None
        )

    def place_elements(self, writes: ElementWrites | None) -> ElementWrites | None:
        """Return the same writes to collections by stored names."""
        if writes is None or not self.any:
            return writes
        return writes._replace(
            additions=tuple(a._replace(group=self._place_group(a.group)) for a in writes.additions),
            increments={
                self._place_group(group): step for group, step in writes.increments.items()
            },
        )

    def _place_group(self, group: str) -> str:
        known = element_name(group)
        return LOCAL_PREFIX + group if known and self._matches(known.attribute) else group

    def _matches(self, name: str) -> bool:
        return name != PERMANENT and any(match(name) is not None for match in self._full_matches)


def stays_here(sets: Mapping[str, bytes], deletes: Sequence[str]) -> bool:
    """Tell whether no peer gets to see anything of these writes."""
    return all(name.startswith(LOCAL_PREFIX) for name in (*sets, *deletes))
