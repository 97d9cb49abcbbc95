"""Works out once for each stored copy what sessions hand out of it.

The replica gives the same object as long as a session's bytes stay the same, so what follows from
it is kept on it. Nothing is decoded before a session is asked for it. Values that can never change
are then there for the sessions of later requests too; lists, dicts and the like are not.
"""

from collections.abc import Mapping
from typing import Any

from clustersession.core.elements import ELEMENT_PREFIX
from clustersession.core.expiring_values import until_of
from clustersession.core.reclaiming import NEVER_MS, next_expiry_ms
from clustersession.core.state import (
    LIFETIME,
    LOCAL_PREFIX,
    SYSTEM_PREFIX,
    SessionState,
    access_coarseness_ms,
    idle_timeout_ms,
)
from clustersession.session.changes import (
    NO_ELEMENTS,
    NO_UNTILS,
    UNLOADED,
    AttributeChanges,
    Original,
    values_and_elements,
)
from clustersession.session.lifetimes import PERMANENT, is_permanent
from clustersession.session.merging import Elements, StoredCollection, is_marker

_new = object.__new__
# Half the price of Original(...), on the path of each write.
_new_tuple = tuple.__new__


class StoredAttributes:
    """Holds what follows from one copy. Nothing of it changes but values that are decoded later.

    Attributes:
        values: the attributes, with UNLOADED for what is to be decoded from ``originals``.
        originals: the same names with their bytes. Both dicts are shared between requests.
        elements: those of all collections, by attribute and stored name.
        holds_local: some attributes stay on this node.
        data_bytes: what names and values take.
        untils: until when attributes count, of those whose time is limited.
        touch_due_ms: from when on an access to the session is to be recorded; None: never.
        outlives_browser: the session asks itself for a cookie with a lifetime.
    """

    __slots__ = (
        "data_bytes", "elements", "holds_local", "originals", "outlives_browser", "touch_due_ms",
        "untils", "values",
    )  # fmt: skip

    def __init__(self, state: SessionState, before: "StoredAttributes | None") -> None:
        self.values: dict[str, Any] = {}
        self.originals: dict[str, Original] = {}
        self.elements: Mapping[str, Elements] = NO_ELEMENTS
        idle_ms = idle_timeout_ms(state)
        self.touch_due_ms = (
            state.accessed_ms + max(access_coarseness_ms(idle_ms), 1) if idle_ms > 0 else None
        )
        known = {} if before is None else before.originals
        data_bytes, visible, collections = 0, 0, 0
        for name, register in state.registers.items():
            data = register.value
            if data is None:
                continue
            data_bytes += len(name) + len(data)
            if name.startswith(SYSTEM_PREFIX):
                visible += name.startswith(LOCAL_PREFIX)
                collections += name.startswith(ELEMENT_PREFIX)
                continue
            original = known.get(name)
            if original is None or original.data is not data:
                original = Original(UNLOADED, data)
            self.originals[name] = original
            self.values[name] = original.value
            collections += is_marker(data)
        self.data_bytes = data_bytes
        self.outlives_browser = LIFETIME in state.registers or is_permanent(state)
        self.holds_local = visible > 0
        if self.holds_local or collections:
            values, self.elements = values_and_elements(state.registers)
            for name, data in values.items():
                if type(data) is StoredCollection or self.holds_local:
                    self.originals[name] = Original(UNLOADED, data)
                    self.values[name] = UNLOADED
        self.untils = NO_UNTILS
        if next_expiry_ms(state) != NEVER_MS:
            self.untils = _untils_in(self.originals)

    def share(self, name: str, original: Original) -> None:
        """Keep a value that can never change for the sessions to come."""
        known = self.originals.get(name)
        if known is not None and known.data is original.data:
            self.originals[name] = original
            self.values[name] = original.value


def stored_attributes(
    state: SessionState, before: SessionState | None = None
) -> StoredAttributes:
    """Return what follows from a copy; what was decoded of the one ``before`` it is not again."""
    known: StoredAttributes | None = state._attributes
    if known is not None:
        return known
    found = StoredAttributes(state, None if before is None else stored_attributes(before))
    object.__setattr__(state, "_attributes", found)
    return found


def follow(
    known: StoredAttributes, before: SessionState, state: SessionState, changes: AttributeChanges
) -> None:
    """Work out what follows from a copy that changes of attributes made of another, whole.

    Only what differs is looked at, so the session must have no attributes that stay on this node.
    What is not as simple is left to ``stored_attributes``.
    """
    sets = changes.sets
    if changes.deletes or PERMANENT in sets or state._attributes is not None:
        return
    if changes.elements is not None or next_expiry_ms(state) != NEVER_MS:
        return
    originals, values, data_bytes = dict(known.originals), dict(known.values), known.data_bytes
    for name, data in sets.items():
        old = originals.get(name)
        if old is not None:
            data_bytes += len(data) - len(old.data)
        elif name in before.registers:
            # It was deleted, and stands among the registers where it did.
            return
        else:
            data_bytes += len(name) + len(data)
        originals[name] = _new_tuple(Original, (UNLOADED, data))
        values[name] = UNLOADED
    found = _new(StoredAttributes)
    found.originals, found.values, found.data_bytes = originals, values, data_bytes
    found.holds_local, found.outlives_browser = False, known.outlives_browser
    found.elements, found.untils = known.elements, NO_UNTILS
    due_ms = known.touch_due_ms
    later_ms = state.accessed_ms - before.accessed_ms
    found.touch_due_ms = None if due_ms is None else due_ms + later_ms
    object.__setattr__(state, "_attributes", found)


def _untils_in(originals: Mapping[str, Original]) -> Mapping[str, int]:
    return {
        name: until_ms
        for name, original in originals.items() if (until_ms := until_of(original.data)) is not None
    }


def stored_values(state: SessionState) -> dict[str, bytes]:
    """Return the registers of a copy that are not deleted."""
    return {n: r.value for n, r in state.registers.items() if r.value is not None}
