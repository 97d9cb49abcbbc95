"""The attributes of a session: a real dict that knows what was changed in it."""

from collections.abc import Mapping
from typing import Any, Self, TypeVar, overload

from clustersession.core.errors import WireError
from clustersession.core.state import SYSTEM_PREFIX
from clustersession.session.changes import (
    NO_CHANGES,
    UNLOADED,
    Changes,
    Original,
    find_changes,
    is_immutable,
)
from clustersession.session.stored import StoredAttributes
from clustersession.wire.values import decode_value, encode_value

_T = TypeVar("_T")


class Attributes(dict[str, Any]):
    """Keys are strings; values are what ``wire.values`` lists.

    modified: a method that changes it was called since the last commit. Changes inside values are
    found without this flag; setting it does no harm.
    """

    __slots__ = ("_bytes_max", "_mutable", "_originals", "_stored", "_undecodable", "modified")

    def __init__(self, bytes_max: int) -> None:
        # An empty dict needs no more, and one is made for each request.
        self._bytes_max = bytes_max
        self._originals: dict[str, Original] = {}
        # Of the copy we stand on; the originals are its own until one of them changes.
        self._stored: StoredAttributes | None = None
        # Names of values that may change without any method of ours being called.
        self._mutable: set[str] = set()
        self._undecodable: tuple[str, ...] = ()
        self.modified = False

    def __setitem__(self, key: str, value: Any) -> None:
        dict.__setitem__(self, _checked(key), value)
        self.modified = True

    def __delitem__(self, key: str) -> None:
        dict.__delitem__(self, key)
        self.modified = True

    def clear(self) -> None:
        """Delete every attribute, those that cannot be read too."""
        dict.clear(self)
        if self._undecodable:
            originals = self._own_originals()
            for name in self._undecodable:
                originals[name] = Original(None, b"")
        self.modified = True

    def pop(self, key: str, *default: Any) -> Any:
        """Like dict.pop."""
        if key in self:
            self.modified = True
        return dict.pop(self, key, *default)

    def popitem(self) -> tuple[str, Any]:
        """Like dict.popitem."""
        item = dict.popitem(self)
        self.modified = True
        return item

    @overload
    def setdefault(self, key: str, default: None = None) -> Any: ...
    @overload
    def setdefault(self, key: str, default: _T) -> Any: ...
    def setdefault(self, key: str, default: Any = None) -> Any:
        """Like dict.setdefault."""
        if key not in self:
            self[key] = default
        return dict.__getitem__(self, key)

    def update(self, *others: Any, **values: Any) -> None:
        """Like dict.update, all or nothing."""
        new = {_checked(key): value for key, value in dict(*others, **values).items()}
        dict.update(self, new)
        self.modified = True

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self

    def copy(self) -> dict[str, Any]:
        """A plain dict of the attributes."""
        return dict(self)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # A copied or pickled session is a plain dict: a second live one would commit as well.
        return dict, (dict(self),)

    # --- what is stored -------------------------------------------------------------------------

    def left_out(self, name: str, error: Exception) -> None:
        """Told of an attribute that cannot be read."""

    def take(self, stored: StoredAttributes) -> None:
        """Begin with what is stored; what is not decoded there waits for ``load_all``."""
        dict.update(self, stored.values)
        self._originals, self._stored = stored.originals, stored

    def load_all(self) -> None:
        """Decode what has waited."""
        waiting = {
            name: original.data
            for name, original in self._originals.items()
            # Another session of the same copy may have decoded the original for all.
            if dict.get(self, name) is UNLOADED
        }
        if waiting:
            self.decode(waiting)

    def decode(self, stored: Mapping[str, bytes]) -> None:
        """Take these attributes from their stored bytes; one that cannot be read is left out."""
        shared = self._stored
        originals = self._own_originals()
        for name, data in stored.items():
            try:
                value = decode_value(data)
            except WireError as error:
                dict.pop(self, name, None)
                originals.pop(name, None)
                if name not in self._undecodable:
                    self._undecodable += (name,)
                self.left_out(name, error)
                continue
            dict.__setitem__(self, name, value)
            originals[name] = original = Original(value, data)
            if is_immutable(value):
                self._mutable.discard(name)
                if shared is not None:
                    shared.share(name, original)
            else:
                self._mutable.add(name)

    def find_changes(self) -> Changes:
        """What the application changed; see ``changes.find_changes`` for the errors."""
        if self.modified:
            return find_changes(self, self._originals, self._bytes_max)
        for name in self._mutable:
            if encode_value(dict.__getitem__(self, name), name) != self._originals[name].data:
                return find_changes(self, self._originals, self._bytes_max)
        return NO_CHANGES

    def stored_is(self, stored: Mapping[str, bytes]) -> None:
        """Continue from what is stored now, with the changes not saved yet on top."""
        changes = self.find_changes()
        pending = {*changes.sets, *changes.deletes}
        originals = self._own_originals()
        for name in [name for name in originals if name not in stored]:
            del originals[name]
            if name not in pending:
                dict.pop(self, name, None)
                self._mutable.discard(name)
        for name in pending & stored.keys():
            originals[name] = Original(UNLOADED, stored[name])
        self.modified |= bool(pending)
        self.decode({
            name: data
            for name, data in stored.items()
            if name not in pending and (name not in originals or originals[name].data != data)
        })

    def saved(self, changes: Changes, stored: StoredAttributes) -> None:
        """The changes are stored: later ones are found against them."""
        self.modified = False
        originals = self._own_originals()
        self._stored = stored
        for name, data in changes.sets.items():
            value = dict.get(self, name)
            originals[name] = original = Original(value, data)
            if is_immutable(value):
                stored.share(name, original)
            else:
                self._mutable.add(name)
        for name in changes.deletes:
            originals.pop(name, None)
            self._mutable.discard(name)

    def forget_stored(self) -> None:
        """Nothing is stored any more."""
        self._originals, self._stored = {}, None
        self._mutable.clear()
        self._undecodable = ()

    def _own_originals(self) -> dict[str, Original]:
        if self._stored is not None and self._originals is self._stored.originals:
            self._originals = dict(self._originals)
        return self._originals


def _checked(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"session keys must be str, not {type(key).__name__}: {key!r:.80}")
    if key.startswith(SYSTEM_PREFIX):
        raise ValueError("session keys must not start with a zero character")
    if not key.isascii():
        key.encode("utf-8")
    return key if type(key) is str else str.__str__(key)
