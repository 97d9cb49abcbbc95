"""Makes collections of their stored elements, and finds what was changed in them.

What an attribute's own register holds of a collection is a marker of its type. It has the form of a
value that versions without these types cannot read: they leave the attribute out and keep it.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from operator import attrgetter
from struct import Struct
from typing import Any, NamedTuple

from clustersession.core.elements import (
    DICT,
    ELEMENTS_MAX,
    LIST,
    SEEN_SUM,
    SET,
    SUM,
    Addition,
    ElementWrites,
    Place,
    StoredElement,
    counted,
    element_kind,
    element_name,
    group_of,
    read_element,
    seen_sum_name,
)
from clustersession.core.errors import SessionTooLarge, UnserializableValue, WireError
from clustersession.core.state import SYSTEM_PREFIX, Register
from clustersession.wire.collisions import check_hashes
from clustersession.wire.merging import Counter, MergingDict, MergingList, MergingSet
from clustersession.wire.values import decode_each, decode_value, encode_each

_MARKER = b"\xd4\x0d"
"""A value of msgpack's extension type 13, of one byte: the kind."""

_KINDS: dict[type, str] = {
    MergingList: LIST, MergingDict: DICT, MergingSet: SET, Counter: SUM,
}  # fmt: skip
_MARKERS = {_MARKER + kind.encode(): kind for kind in _KINDS.values()}
_MARKER_BYTES = 3
_LENGTH = Struct(">I")
_ORDER_BYTES_MAX = 512
"""A list in which elements were put one after the other in its midst so often is written anew."""

_STEP_MAX = 2**63

_PLACE = attrgetter("order", "stamp", "name")

NAME_LENGTH_MAX = 900
"""So many characters the name of a collection has; its elements' names are longer."""

Elements = Mapping[str, Register]
"""Registers by their stored names."""


class StoredCollection(bytes):
    """Is a collection as it is stored. As bytes it equals another one that is stored alike.

    Attributes:
        kind: of its elements. elements: in their order; none for a counter.
        seen: the registers that it was read from; of a counter the sums.
        marked: the attribute's own register says that it is there. total: of a counter.
    """

    kind: str
    seen: Elements
    marked: bool
    total: int

    @cached_property
    def elements(self) -> list[StoredElement]:
        found: list[StoredElement] = []
        if self.kind != SUM:
            for name, register in self.seen.items():
                try:
                    found.append(read_element(name, register))
                except WireError:
                    continue  # no node writes that
            found.sort(key=_PLACE)
        return found

    def value(self) -> Any:
        """Return it as an application gets it. Raises WireError."""
        if self.kind == SUM:
            return Counter(self.total).following()
        contents = self.contents()
        if self.kind == LIST:
            return MergingList(decode_each(contents))
        if self.kind == SET:
            return MergingSet(_hashable(decode_each(contents)))
        pairs = list(map(_split, contents))
        keys = _hashable(decode_each([key for key, _ in pairs]))
        return MergingDict(zip(keys, (decode_value(data) for _, data in pairs), strict=True))

    def contents(self) -> list[bytes]:
        """Return what it holds, encoded, in order; see ``contents_of``."""
        if self.kind == LIST:
            return [element.content for element in self.elements]
        return [elements[-1].content for elements in self.by_name().values()]

    def by_name(self) -> dict[bytes, list[StoredElement]]:
        """Return the elements of one set element or one key, the one that counts last.

        There are several when it was added on several nodes.
        """
        found: dict[bytes, list[StoredElement]] = {}
        for element in self.elements:
            content = element.content
            name = content if self.kind == SET else _split(content)[0]
            found.setdefault(name, []).append(element)
        for several in found.values():
            if len(several) > 1:
                several.sort(key=lambda element: (element.stamp, element.name))
        return found


class Found(NamedTuple):
    """Is what was found changed in a collection.

    data: a new content of the attribute's own register; None: it stays.
    """

    writes: ElementWrites
    data: bytes | None


def is_marker(data: bytes) -> bool:
    """Tell whether an attribute's own register says that it is a collection."""
    return len(data) == _MARKER_BYTES and data in _MARKERS


def kind_of(value: object) -> str | None:
    """Return the kind of the elements of a value, None when it is no collection of ours."""
    return _KINDS.get(type(value))


def decode_attribute(data: bytes) -> object:
    """Decode an attribute, a collection or not. Raises WireError."""
    return data.value() if type(data) is StoredCollection else decode_value(data)


def elements_in(registers: Mapping[str, Register]) -> dict[str, dict[str, Register]]:
    """Return the elements that are there, by attribute and stored name."""
    found: dict[str, dict[str, Register]] = {}
    group, elements, is_sum = "", {}, False
    for name, register in registers.items():
        if register.value is None or not name.startswith(SYSTEM_PREFIX):
            continue
        # Most elements stand next to others of their collection.
        if not group or not name.startswith(group):
            known = element_name(name)
            if known is None or known.kind == SEEN_SUM:
                continue
            group, is_sum = name.removesuffix(known.identifier), known.kind == SUM
            elements = found.setdefault(known.attribute, {})
        if not is_sum or not _is_taken_off(registers, name, register):
            elements[name] = register
    return {attribute: elements for attribute, elements in found.items() if elements}


def _is_taken_off(registers: Mapping[str, Register], name: str, own: Register) -> bool:
    seen = registers.get(seen_sum_name(name))
    return seen is not None and seen.time >= own.time and not counted(registers, name)


def with_collections(
    values: dict[str, bytes], elements: Mapping[str, Elements], registers: Mapping[str, Register]
) -> dict[str, bytes]:
    """Return attributes with their collections in the place of the markers.

    elements: by attribute, see ``elements_in``.
    """
    marked = [name for name, data in values.items() if is_marker(data)]
    for name in {**dict.fromkeys(marked), **elements}:
        found = collected(values.get(name), elements.get(name, {}), registers)
        if found is not None:
            values[name] = found
    return values


def collected(
    data: bytes | None, elements: Elements, registers: Mapping[str, Register]
) -> StoredCollection | None:
    """Return the collection that an attribute is; None when it is none, or not there.

    Elements without an attribute of their own were added while somebody deleted it, who had not
    seen them: they are there. Where the attribute holds another value they are not.
    """
    kind = None if data is None else _MARKERS.get(data)
    if data is not None and kind is None:
        return None
    of_kind = _by_kind(elements)
    total = sum(counted(registers, name) for name in of_kind.get(SUM, ()))
    if kind is None:
        kinds = [k for k in sorted(of_kind) if k in _KINDS.values() and (k != SUM or total)]
        if not kinds:
            return None
        kind = kinds[0]
    return _stored(kind, of_kind.get(kind, {}), data is not None, total)


def _by_kind(elements: Elements) -> dict[str, Elements]:
    kinds = set(map(element_kind, elements))
    if len(kinds) == 1:
        return dict.fromkeys(kinds, elements)
    return {
        kind: {name: r for name, r in elements.items() if element_kind(name) == kind}
        for kind in kinds
    }


def _stored(kind: str, seen: Elements, marked: bool, total: int) -> StoredCollection:
    # Compared within a process, and salted: nobody can choose elements that look like others.
    digest = hash((kind, total if kind == SUM else 0, marked, frozenset(seen.items())))
    stored = StoredCollection(b"%b%b%d" % (_MARKER, kind.encode(), digest))
    stored.kind, stored.seen, stored.marked, stored.total = kind, seen, marked, total
    return stored


def contents_of(value: Any, name: str) -> list[bytes]:
    """Encode each element of a list, set or dict. Raises UnserializableValue."""
    if isinstance(value, dict):
        keys = encode_each(dict.keys(value), name)
        pairs = zip(keys, encode_each(dict.values(value), name), strict=True)
        return [_LENGTH.pack(len(key)) + key + data for key, data in pairs]
    return encode_each(value, name)


def is_unchanged(value: Any, data: bytes, name: str) -> bool:
    """Tell whether a value is what is stored. Raises UnserializableValue."""
    if type(data) is not StoredCollection or kind_of(value) != data.kind:
        return False
    if data.kind == SUM:
        return value.follows and int(value) == data.total
    if data.kind == LIST and len(value) != len(data.elements):
        return False
    contents = contents_of(value, name)
    if data.kind == LIST:
        return contents == data.contents()
    return len(contents) == len(data.by_name()) and set(contents) == set(data.contents())


def find_element_changes(
    value: Any, data: bytes | None, hidden: Elements, name: str, bytes_max: int
) -> Found:
    """Compare a collection with what is stored of its attribute.

    data: as it was handed out; None: the attribute is new. hidden: all elements that are stored
    under its name. Raises UnserializableValue and SessionTooLarge.
    """
    kind = _KINDS[type(value)]
    stored = data if type(data) is StoredCollection and data.kind == kind else None
    old = {} if stored is None else stored.seen
    others = {n: register for n, register in hidden.items() if n not in old}
    group = group_of(kind, name)
    if kind == SUM:
        writes = _counted_on(value, stored, group, name)
    else:
        contents = contents_of(value, name)
        _check(value, contents, name, bytes_max)
        if kind == LIST:
            additions, gone = _list_changes(contents, stored, group)
        else:
            additions, gone = _named_changes(contents, stored, group, kind)
        retired = {element.name: element.register for element in gone}
        writes = ElementWrites(tuple(additions), retired)
    # Elements that were hidden behind another value do not come back with the type.
    if others:
        writes = writes._replace(retired={**writes.retired, **others})
    marker = _MARKER + kind.encode()
    return Found(writes, None if stored is not None and stored.marked else marker)


def rebased(
    value: Any, old: StoredCollection, newer: StoredCollection | None, name: str, bytes_max: int
) -> Any:
    """Return what a changed value becomes on top of a newer copy.

    A list, set or dict stays the object that it is. None as ``newer``: it was deleted elsewhere.
    Raises what ``find_element_changes`` raises.
    """
    if old.kind == SUM:
        if not value.follows or newer is None:
            return value
        return Counter(newer.total + int(value) - old.total).following()
    writes = find_element_changes(value, old, {}, name, bytes_max).writes
    registers = {} if newer is None else dict(newer.seen)
    times = [register.time for register in (*registers.values(), *old.seen.values())]
    writes.apply(registers, time=max(times, default=0) + 2, node=b"", seq=0)
    there = {n: register for n, register in registers.items() if register.value is not None}
    refresh(value, _stored(old.kind, there, True, 0), name)
    return value


def appends_in(writes: ElementWrites | None) -> dict[str, int]:
    """Return how many elements were added to each group that was only added to at its end."""
    counts: dict[str, int] = {}
    for addition in () if writes is None else writes.additions:
        before = counts.get(addition.group, 0)
        counts[addition.group] = before + 1 if addition.place is Place.LAST and before >= 0 else -1
    return counts


def is_appended(
    before: bytes | None, now: StoredCollection, name: str, appends: Mapping[str, int]
) -> bool:
    """Tell whether a list has become what it is by appends alone: its object holds that already.

    before: what was stored. appends: see ``appends_in``.
    """
    if now.kind != LIST or type(before) is not StoredCollection:
        return False
    count = appends.get(group_of(LIST, name), 0)
    return (
        count > 0 and len(now.seen) == len(before.seen) + count
        and before.seen.items() <= now.seen.items()
    )


def refresh(value: Any, stored: StoredCollection, name: str) -> None:
    """Have a list, set or dict hold what is stored; objects that are in it already stay the same.

    Raises WireError.
    """
    contents = contents_of(value, name)
    new = stored.contents()
    if contents == new:
        return
    held: dict[bytes, list[Any]] = {}
    items = dict.items(value) if isinstance(value, dict) else value
    # From the last one on: of those that are alike the first is taken first, from the end.
    for content, item in zip(reversed(contents), reversed(list(items)), strict=True):
        held.setdefault(content, []).append(item)
    fresh = [
        waiting.pop() if (waiting := held.get(content)) else _decoded(content, stored.kind)
        for content in new
    ]
    value.clear()
    if stored.kind == LIST:
        value.extend(fresh)
    else:
        value.update(fresh)


def _decoded(content: bytes, kind: str) -> Any:
    if kind != DICT:
        return decode_value(content)
    key, data = _split(content)
    return decode_value(key), decode_value(data)


def _counted_on(
    value: Counter, stored: StoredCollection | None, group: str, name: str
) -> ElementWrites:
    goes_on = stored is not None and value.follows
    step = int(value) - (stored.total if stored is not None and goes_on else 0)
    if abs(step) >= _STEP_MAX:
        raise UnserializableValue(f"session[{name!r}] counts in steps below 2 to the power of 63")
    retired = {} if stored is None or goes_on else stored.seen
    return ElementWrites((), retired, {group: step} if step else {})


def _check(value: Any, contents: Sequence[bytes], name: str, bytes_max: int) -> None:
    if len(contents) > ELEMENTS_MAX:
        raise SessionTooLarge(
            f"session[{name!r}] has {len(contents)} elements; a {type(value).__name__} has at most "
            f"{ELEMENTS_MAX}"
        )
    if len(name) > NAME_LENGTH_MAX:
        raise SessionTooLarge(
            f"session[{name[:32]!r}...] has a name of {len(name)} characters; that of a "
            f"{type(value).__name__} has at most {NAME_LENGTH_MAX}"
        )
    size = len(name) + sum(map(len, contents))
    if size > bytes_max:
        raise SessionTooLarge(
            f"session[{name!r}] takes {size} bytes; attribute_bytes_max is {bytes_max}"
        )
    if not isinstance(value, list):
        try:
            check_hashes(value)
        except WireError as error:
            raise UnserializableValue(f"session[{name!r}] has {error}") from None


_Changes = tuple[list[Addition], list[StoredElement]]


def _named_changes(
    contents: Sequence[bytes], stored: StoredCollection | None, group: str, kind: str
) -> _Changes:
    """Compare a set or dict: what is to be added, and what is to go.

    A key that gets another value keeps its place. Of a key that several nodes have added all go.
    """
    old = {} if stored is None else stored.by_name()
    additions: list[Addition] = []
    gone: list[StoredElement] = []
    kept: set[bytes] = set()
    last = stored.elements[-1].order if stored is not None and stored.elements else b""
    for content in contents:
        name = _split(content)[0] if kind == DICT else content
        kept.add(name)
        elements = old.get(name)
        if elements is None:
            additions.append(Addition(group, content, Place.LAST, last))
        elif elements[-1].content != content:
            gone += elements
            additions.append(Addition(group, content, Place.AT, elements[0].order))
    for name, elements in old.items():
        if name not in kept:
            gone += elements
    return additions, gone


def _list_changes(
    contents: Sequence[bytes], stored: StoredCollection | None, group: str
) -> _Changes:
    """Compare a list: what is to be added where, and what is to go."""
    old = [] if stored is None else stored.elements
    additions: list[Addition] = []
    gone: list[StoredElement] = []
    for (i, j), (next_i, next_j) in pairwise(_kept(contents, old)):
        left, come = old[i + 1 : next_i], contents[j + 1 : next_j]
        gone += left
        # What takes the place of another element keeps that place.
        additions += [
            Addition(group, content, Place.AT, element.order)
            for content, element in zip(come, left, strict=False)
        ]
        more = come[len(left) :]
        before = old[next_i - 1].order if next_i else b""
        place = Place.LAST if next_i == len(old) else Place.AFTER
        additions += [Addition(group, content, place, before) for content in more]
    if any(len(addition.order) > _ORDER_BYTES_MAX for addition in additions):
        return [Addition(group, content) for content in contents], list(old)
    return additions, gone


def _kept(contents: Sequence[bytes], old: Sequence[StoredElement]) -> list[tuple[int, int]]:
    """Return which old elements stay, and where: as many as can without one passing another.

    Of those at the start and at the end only the innermost, and what stands before and after all.
    """
    held = [element.content for element in old]
    shorter = min(len(contents), len(old))
    start = _alike(contents, held)
    end = min(_alike(contents[::-1], held[::-1]), shorter - start)
    places: dict[bytes, list[int]] = {}
    for i in range(len(old) - end - 1, start - 1, -1):
        places.setdefault(old[i].content, []).append(i)
    middle = [
        (waiting.pop(), j)
        for j in range(start, len(contents) - end)
        if (waiting := places.get(contents[j]))
    ]
    return [
        (start - 1, start - 1),
        *_longest_rising(middle),
        (len(old) - end, len(contents) - end),
    ]


def _alike(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    """Return how many are the same at the start."""
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    return next(at for at in range(shorter) if one[at] != other[at])


def _longest_rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return a longest part of these pairs whose first numbers rise, as the second ones do."""
    tails: list[int] = []
    chains: list[Any] = []
    for i, j in pairs:
        place = bisect_left(tails, i)
        tails[place : place + 1] = [i]
        chains[place : place + 1] = [((i, j), chains[place - 1] if place else None)]
    found: list[tuple[int, int]] = []
    chain: Any = chains[-1] if chains else None
    while chain is not None:
        pair, chain = chain
        found.append(pair)
    return found[::-1]


def _hashable(elements: list[Any]) -> list[Any]:
    try:
        check_hashes(elements)
        for element in elements:
            hash(element)
    except TypeError as error:
        raise WireError(str(error)) from None
    return elements


def _split(content: bytes) -> tuple[bytes, bytes]:
    """Return key and value of an element of a dict. Raises WireError."""
    if len(content) < _LENGTH.size:
        raise WireError("an element of a dict that is none")
    end = _LENGTH.size + int(_LENGTH.unpack_from(content)[0])
    return content[_LENGTH.size : end], content[end:]
