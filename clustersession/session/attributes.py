"""Finds what was changed in a session's dict, changes inside values included."""

from collections.abc import Container, Mapping
from typing import Any

from clustersession.core.errors import WireError
from clustersession.core.expiring_values import is_expired, until_of
from clustersession.session.changes import (
    NO_CHANGES,
    NO_ELEMENTS,
    NO_UNTILS,
    UNLOADED,
    AttributeChanges,
    Original,
    find_changes,
    is_as_stored,
)
from clustersession.session.merging import (
    Elements,
    StoredCollection,
    appends_in,
    decode_attribute,
    is_appended,
    kind_of,
    rebased,
    refresh,
)
from clustersession.session.stored import StoredAttributes
from clustersession.session.warnings import Warnings
from clustersession.wire.merging import Counter
from clustersession.wire.value_types import SCALARS

# Half the price of Original(...), on the path of each write.
_new_tuple = tuple.__new__


class AttributeTracker:
    """Fills one session's dict from its stored copy, and compares the two later.

    ``values`` is that dict, the same one at each call. Its methods are called as ``dict``'s own:
    those of a session would load it.

    Attributes:
        untils: until when attributes that are held here count, of those whose time is limited;
            never changed, but for another one in its place.
        mutable: names of values that may change without any method of the session being called.
            A name comes in when its value is decoded or saved, and goes when that is deleted.
        _originals: each stored attribute as it was handed out, with its bytes. It is ``_stored``'s
            own, and shared between requests, until one attribute differs; see ``_own_originals``.
        _elements: the elements of all collections as the request has seen them, by attribute.
        _stored: what the stored copy says, None as long as nothing is stored.
        _were_limited: the time of some attributes was limited; once true it stays so.
        _undecodable: names that are stored and cannot be read; in neither of the two dicts.
        _key: the key of the stored copy, by which the log names the session.
    """

    __slots__ = (
        "_bytes_max", "_elements", "_key", "_originals", "_stored", "_undecodable", "_warnings",
        "_were_limited",
        "mutable", "untils",
    )  # fmt: skip

    def __init__(self, bytes_max: int, warnings: Warnings) -> None:
        self._bytes_max = bytes_max
        self._warnings = warnings
        self._key = ""
        self._elements: Mapping[str, Elements] = NO_ELEMENTS
        self._originals: dict[str, Original] = {}
        self._stored: StoredAttributes | None = None
        self._undecodable: tuple[str, ...] = ()
        self.mutable: set[str] = set()
        self.untils: Mapping[str, int] = NO_UNTILS
        self._were_limited = False

    def take(self, values: dict[str, Any], key: str, stored: StoredAttributes) -> None:
        """Begin with what is stored; what is not decoded there waits for ``load_all``."""
        dict.update(values, stored.values)
        self._key, self._originals, self._stored = key, stored.originals, stored
        self._elements, self.untils = stored.elements, stored.untils
        self._were_limited = bool(stored.untils)

    def limit(self, name: str, until_ms: int | None) -> None:
        """Have an attribute count until then; None: as long as the session."""
        untils = {n: ms for n, ms in self.untils.items() if n != name}
        if until_ms is not None:
            untils[name] = until_ms
        self.untils, self._were_limited = untils, True

    def drop_expired(self, values: dict[str, Any], now_ms: int) -> None:
        """Leave out attributes whose time is over; that is no change of the application's."""
        if min(self.untils.values()) > now_ms:
            return
        for name in [name for name, until_ms in self.untils.items() if until_ms <= now_ms]:
            self.limit(name, None)
            dict.pop(values, name, None)
            self.mutable.discard(name)
            original = self._originals.get(name)
            # What stood there before it was set here must not come back.
            if original is not None and is_expired(original.data, now_ms):
                del self._own_originals()[name]

    def load(self, values: dict[str, Any], name: str) -> None:
        """Decode one attribute that has waited."""
        self._decode(values, {name: self._originals[name].data})

    def load_all(self, values: dict[str, Any]) -> None:
        """Decode what has waited."""
        waiting = {
            name: original.data
            for name, original in self._originals.items()
            # Another session of the same copy may have decoded the original for all.
            if dict.get(values, name) is UNLOADED
        }
        if waiting:
            self._decode(values, waiting)

    def knows(self, values: dict[str, Any], name: str, data: bytes | None) -> bool:
        """Tell whether the application holds this value, or for None knows that it is gone."""
        if data is None:
            return name not in dict.keys(values)
        original = self._originals.get(name)
        return original is not None and original.data == data

    def find_changes(self, values: dict[str, Any], modified: bool) -> AttributeChanges:
        """Compare with what is stored; see ``changes.find_changes`` for the errors.

        modified: a method that changes the session was called since the last commit. Without that
        only values that may change by themselves are looked at.
        """
        if modified:
            return self._compare(values)
        for name in self.mutable:
            value = dict.__getitem__(values, name)
            if not is_as_stored(value, self._originals[name].data, name):
                return self._compare(values)
        return NO_CHANGES

    def _compare(self, values: dict[str, Any]) -> AttributeChanges:
        originals = self._originals
        if not self._were_limited:
            return find_changes(values, originals, self._bytes_max, self._elements)
        limited = {n for n, stored in originals.items() if until_of(stored.data) is not None}
        return find_changes(
            values, originals, self._bytes_max, self._elements, self.untils,
            limited | self.untils.keys(),
        )

    def take_newer(self, values: dict[str, Any], modified: bool, stored: StoredAttributes) -> bool:
        """Continue from what is stored now, with the unsaved changes on top; tell if there are any.

        Raises what ``find_changes`` raises.
        """
        changes = self.find_changes(values, modified)
        pending = {*changes.sets, *changes.deletes, *changes.collections}
        originals = self._own_originals()
        newer = {name: original.data for name, original in stored.originals.items()}
        for name in changes.collections:
            self._rebase(values, name, newer.get(name))
        self._take_untils(stored.untils, pending)
        self._elements = stored.elements
        for name in [name for name in originals if name not in newer]:
            del originals[name]
            if name not in pending:
                dict.pop(values, name, None)
                self.mutable.discard(name)
        for name in pending & newer.keys():
            originals[name] = Original(UNLOADED, newer[name])
        self._decode(values, {
            name: data
            for name, data in newer.items()
            if name not in pending and (name not in originals or originals[name].data != data)
        })
        return bool(pending)

    def _take_untils(self, newer: Mapping[str, int], pending: Container[str]) -> None:
        if newer or self.untils:
            theirs = {name: ms for name, ms in newer.items() if name not in pending}
            ours = {name: ms for name, ms in self.untils.items() if name in pending}
            self.untils, self._were_limited = {**theirs, **ours}, True

    def saved(
        self, values: dict[str, Any], key: str, changes: AttributeChanges, stored: StoredAttributes
    ) -> None:
        """Note that the changes are stored: later ones are found against them."""
        originals = self._own_originals()
        self._key, self._stored = key, stored
        for name, data in changes.sets.items():
            value = dict.get(values, name)
            originals[name] = original = _new_tuple(Original, (value, data))
            if type(value) in SCALARS:
                stored.share(name, original)
            else:
                self.mutable.add(name)
        for name in changes.deletes:
            originals.pop(name, None)
            self.mutable.discard(name)
        self._elements = stored.elements
        appended = appends_in(changes.elements)
        for name in changes.collections:
            self._saved_collection(values, name, stored, appended)

    def _rebase(self, values: dict[str, Any], name: str, newer: bytes | None) -> None:
        """Put what a request changed in a collection on top of what others have made of it."""
        original = self._originals.get(name)
        old = None if original is None else original.data
        if type(old) is not StoredCollection:
            return
        value = dict.__getitem__(values, name)
        if kind_of(value) != old.kind:
            return
        if newer is None or (type(newer) is StoredCollection and newer.kind == old.kind):
            value = rebased(value, old, newer, name, self._bytes_max)
            dict.__setitem__(values, name, value)

    def _saved_collection(
        self, values: dict[str, Any], name: str, stored: StoredAttributes,
        appended: Mapping[str, int],
    ) -> None:
        """Have a collection hold what others have written to it as well."""
        kept, original = stored.originals.get(name), self._originals.get(name)
        value = dict.get(values, name)
        if kept is None:
            dict.pop(values, name, None)
            self._own_originals().pop(name, None)
            self.mutable.discard(name)
        elif type(kept.data) is not StoredCollection or kind_of(value) != kept.data.kind:
            self._decode(values, {name: kept.data})
        else:
            if isinstance(value, Counter):
                value = kept.data.value()
                dict.__setitem__(values, name, value)
            elif not is_appended(original and original.data, kept.data, name, appended):
                refresh(value, kept.data, name)
            self._own_originals()[name] = Original(value, kept.data)
            self.mutable.add(name)

    def delete_undecodable(self) -> None:
        """Have the next ``find_changes`` delete what cannot be read."""
        if self._undecodable:
            originals = self._own_originals()
            for name in self._undecodable:
                originals[name] = Original(None, b"")

    def forget(self, values: dict[str, Any], name: str) -> None:
        """Have the next ``take_newer`` take an attribute as it is stored, changed here or not."""
        dict.pop(values, name, None)
        self._own_originals().pop(name, None)
        self.mutable.discard(name)
        if name in self.untils:
            self.limit(name, None)

    def forget_stored(self) -> None:
        """Note that nothing is stored any more."""
        self._originals, self._stored, self._elements = {}, None, NO_ELEMENTS
        self.untils = NO_UNTILS
        self.mutable.clear()
        self._undecodable = ()

    def _decode(self, values: dict[str, Any], stored: Mapping[str, bytes]) -> None:
        """Take these attributes from their stored bytes; one that cannot be read is left out."""
        shared = self._stored
        originals = self._own_originals()
        for name, data in stored.items():
            try:
                value = decode_attribute(data)
            except WireError as error:
                dict.pop(values, name, None)
                originals.pop(name, None)
                if name not in self._undecodable:
                    self._undecodable += (name,)
                self._warnings.undecodable(self._key, name, error)
                continue
            dict.__setitem__(values, name, value)
            originals[name] = original = Original(value, data)
            if type(value) in SCALARS:
                self.mutable.discard(name)
                if shared is not None:
                    shared.share(name, original)
            else:
                self.mutable.add(name)

    def _own_originals(self) -> dict[str, Original]:
        if self._stored is not None and self._originals is self._stored.originals:
            self._originals = dict(self._originals)
        return self._originals
