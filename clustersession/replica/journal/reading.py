"""Reads a journal again: who wrote it, what has ended, and then the sessions, page by page."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clustersession.core.errors import WireError
from clustersession.core.state import Delta, SessionState, apply_delta
from clustersession.replica.journal.segments import segments_of
from clustersession.replica.private_directory import private_opener
from clustersession.wire.journal import (
    HEADER_BYTES,
    JournalCopies,
    JournalDamage,
    JournalEntry,
    JournalIndexer,
    JournalLife,
    JournalMembers,
    JournalReader,
    JournalSynced,
    has_ends,
    salt_of,
)
from clustersession.wire.records import decode_delta

PIECE_BYTES = 2**18
PAGE_SESSIONS = 100
"""As many as an event loop may merge between two heartbeats, without being late for either."""

Recovered = tuple[str, SessionState]
_Place = tuple[int, int, int, bool]


@dataclass(slots=True)
class JournalFound:
    """Tells what a journal says of its node.

    life, members: the newest ones; None for none. own_upto: up to where in the feed of that life
    it has everything. whole: nothing is missing that was on the disk. bytes_read, bytes_lost: how
    much was read, and how much of it could not be; a torn tail counts, though nobody relied on it.
    """

    life: JournalLife | None = None
    members: JournalMembers | None = None
    own_upto: int = 0
    whole: bool = True
    bytes_read: int = 0
    bytes_lost: int = 0
    lost_in: list[str] = field(default_factory=list)


class JournalReading:
    """Reads the segments that there are when it is made, as far as they reach then."""

    def __init__(self, directory: Path) -> None:
        self._paths = [(path, _size_of(path)) for path in segments_of(directory)]
        self.found = JournalFound()

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to read."""
        return not self._paths

    @property
    def size(self) -> int:
        """Return how many bytes there are to read."""
        return sum(size for _, size in self._paths)

    def look(self) -> JournalFound:
        """Read what a journal says of its node."""
        for _ in self.ends():
            pass
        return self.found

    def ends(self) -> Iterator[Sequence[Recovered]]:
        """Yield what has ended; when it is through, ``found`` is complete."""
        found = self.found = JournalFound()
        for path, size in self._paths:
            damages: list[JournalDamage] = []
            synced = 0
            for entries in _entries_of(path, size):
                for entry in entries:
                    match entry:
                        case JournalDamage():
                            damages.append(entry)
                        case JournalCopies(_, deltas):
                            # What lives may stand in one entry with what has ended.
                            ends = [d for d in deltas if has_ends([d])]
                            for start in range(0, len(ends), PAGE_SESSIONS):
                                part = ends[start : start + PAGE_SESSIONS]
                                yield [(delta.key, delta.state) for delta in part]
                        case JournalSynced(upto):
                            synced = max(synced, upto)
                    _note(found, entry)
            found.bytes_read += size
            if damages:
                found.bytes_lost += sum(damage.size for damage in damages)
                found.lost_in.append(path.name)
                # Beyond, pages reach a disk in any order until the next sync.
                first = damages[0].start
                found.whole &= first >= synced and (first > 0 or path == self._paths[-1][0])

    def sessions(self) -> Iterator[Sequence[Recovered]]:
        """Yield every session as it stood, all that was written to it put together, some at a time.

        What has begun before the journal, or in a part that is lost, is none.
        """
        index = _Index(self._paths)
        try:
            page: list[Recovered] = []
            for key in index.keys:
                state = index.state_of(key)
                if state is not None:
                    page.append((key, state))
                if len(page) == PAGE_SESSIONS:
                    yield page
                    page = []
            yield page
        finally:
            index.close()


class _Index:
    """Knows where in the segments each session stands.

    keys: per session where, or the places where; a place is the number of a segment, where in it,
    how long, and whether something before it is damaged.
    """

    def __init__(self, paths: Sequence[tuple[Path, int]]) -> None:
        self.keys: dict[str, _Place | list[_Place]] = {}
        self._descriptors: list[int] = []
        # Something before was lost. A segment may reach the disk before the end of the one that it
        # follows.
        self._damaged = False
        for path, size in paths:
            self._read(path, size)

    def state_of(self, key: str) -> SessionState | None:
        """Put a session together; None where its beginning is not there."""
        places = self.keys[key]
        state: SessionState | None = None
        parts: list[Delta] = []
        for number, place, size, damaged in places if isinstance(places, list) else [places]:
            try:
                delta = decode_delta(os.pread(self._descriptors[number], size, place))
            except (OSError, WireError):
                continue
            parts.append(_claiming_nothing(delta) if damaged else delta)
        # A copy of all may stand behind a change that it has not seen.
        for delta in sorted(parts, key=lambda part: not part.full):
            state = apply_delta(state, delta)
        return state

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []

    def _read(self, path: Path, size: int) -> None:
        number = len(self._descriptors)
        try:
            self._descriptors.append(private_opener(path, os.O_RDONLY))
            salt = salt_of(_piece(self._descriptors[number], HEADER_BYTES, 0))
        except (OSError, WireError):
            self._damaged = True
            return
        indexer = JournalIndexer(salt)
        for found in _read_all(self._descriptors[number], size, indexer):
            self._damaged |= any(isinstance(entry, JournalDamage) for entry in found)
            places, indexer.places = indexer.places, []
            for key, place, length in places:
                self._note(key, (number, place, length, self._damaged))

    def _note(self, key: str, place: _Place) -> None:
        held = self.keys.get(key)
        if held is None:
            self.keys[key] = place
        elif isinstance(held, list):
            held.append(place)
        else:
            self.keys[key] = [held, place]


def _note(found: JournalFound, entry: JournalEntry | JournalDamage) -> None:
    match entry:
        case JournalLife(node):
            if found.life is not None and found.life.node != node:
                found.own_upto = 0
            found.life = entry
        case JournalMembers():
            found.members = entry
        case JournalCopies(own_upto):
            found.own_upto = max(found.own_upto, own_upto)


def _claiming_nothing(delta: Delta) -> Delta:
    """Return a part of a session that does not say that what came before it is there.

    What was lost before would never be asked for again, if this copy seemed to have it.
    """
    if delta.full:
        return delta
    return Delta(delta.key, replace(delta.state, versions={}), full=False)


def _entries_of(path: Path, size: int) -> Iterator[Sequence[JournalEntry | JournalDamage]]:
    """Yield what a segment says, of changes only those that have ends."""
    try:
        descriptor = private_opener(path, os.O_RDONLY)
    except OSError:
        yield [JournalDamage(0, size)]
        return
    try:
        salt = salt_of(_piece(descriptor, HEADER_BYTES, 0))
    except WireError:
        yield [JournalDamage(0, size)]
    else:
        yield from _read_all(descriptor, size, JournalReader(salt, ends_only=True))
    finally:
        os.close(descriptor)


def _read_all(
    descriptor: int, size: int, reader: JournalReader
) -> Iterator[Sequence[JournalEntry | JournalDamage]]:
    for place in range(HEADER_BYTES, size, PIECE_BYTES):
        yield reader.receive(_piece(descriptor, min(PIECE_BYTES, size - place), place))
    last, end_at = reader.finish()
    yield last
    if end_at < size:
        yield [JournalDamage(end_at, size - end_at)]


def _piece(descriptor: int, size: int, place: int) -> bytes:
    try:
        piece = os.pread(descriptor, size, place)
    except OSError:
        # A sector that cannot be read: what stood there fails its checksum.
        piece = b""
    return piece + bytes(size - len(piece))


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
