"""Translates what a node asks of a store into commands, and the answers back.

What a store answers is not trusted: WireError, and nothing else, comes of anything unexpected.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final, Protocol

from clustersession.core.errors import WireError
from clustersession.core.feed import Cursor
from clustersession.core.revocation import tag_of_revocation
from clustersession.core.state import SessionState, merge
from clustersession.net.store.resp import ErrorReply, Part, command
from clustersession.node.store_calls import (
    ENTRIES_MAX,
    Beat,
    Beats,
    Damaged,
    Enter,
    Forget,
    IndexEntry,
    KeepCursor,
    Merge,
    Read,
    ReadIndex,
    StoreAnswer,
    StoreCall,
    Told,
)
from clustersession.store.form import (
    NODE_DIGITS,
    DamagedSession,
    change_of,
    entry_of,
    fields_of,
    member_of,
    state_of,
)
from clustersession.store.keys import StoreKeys
from clustersession.store.library import BEAT, CHANGE, ENTER, KEEP, MERGE, SQUEEZE, MergeAnswer
from clustersession.store.sealing import TAG_BYTES, SealedNames
from clustersession.store.users import UserNames

NODE_KEPT_MS: Final = 30 * 86_400_000
"""How long after its last beat a node's cursor is kept. One that comes later sends all it has."""

BEATS_KEPT_MS: Final = 3_600_000
"""How long the others read what a node told last, a word of leaving included."""

MEMORY_BYTES: Final = 16
_BEAT_KEY: Final = ".beat"
_STAMP: Final = b"0" * 48 + b"1"
_CURSOR: Final = re.compile(rb"(?:0|[1-9]\d{0,18})(?: (?:0|[1-9]\d{0,18})){2}")
_PLACE: Final = re.compile(rb"[0-7][0-9a-f]{15}")
_NODE: Final = re.compile(rb"[0-9a-f]{%d}" % NODE_DIGITS)


class FunctionCaller(Protocol):
    """Knows how a server runs our functions: by FCALL, or as scripts."""

    def call(self, function: str, keys: list[bytes], *arguments: Part) -> bytes:
        """Write the command."""
        ...


@dataclass(frozen=True, slots=True)
class StoreCalls:
    """Translates for one cluster. skew_ms: how far a stamp may be ahead of the store's clock.

    A call becomes one command, or while one secret takes the place of another, a command for each
    of them where it is read what either may have named.
    """

    keys: StoreKeys
    names: SealedNames
    users: UserNames
    skew_ms: int

    def keys_of(self, call: StoreCall) -> list[bytes]:
        """Return the key of each command of a call, by which a Cluster finds the server."""
        match call:
            case Merge(key):
                return self._sessions(key)[:1]
            case Read(key):
                return self._sessions(key)
            case Enter(tag):
                return self.users.indexes(tag)[:1]
            case ReadIndex(tag) | Forget(tag):
                return self.users.indexes(tag)
            case KeepCursor() | Beat():
                return [self.keys.members]

    def _sessions(self, key: str) -> list[bytes]:
        tag = tag_of_revocation(key)
        return [self.keys.session(key)] if tag is None else self.users.revocations(tag)

    def changed(self, names: Iterable[Any]) -> frozenset[str] | None:
        """Return the sessions whose names a server says to have changed; None: any may have."""
        found = set()
        for name in names:
            if not isinstance(name, bytes):
                continue
            record = self.keys.is_revocation(name)
            key = self.users.record_of(name) if record else self.keys.session_of(name)
            if key is not None:
                found.add(key)
            elif record:
                return None
        return frozenset(found)

    def command(
        self, call: StoreCall, name: bytes, caller: FunctionCaller, drawn: bytes
    ) -> bytes:
        """Write the command for one of a call's keys. ``drawn`` becomes a store's memory if it has
        none.
        """
        match call:
            case Merge():
                return self._merge(MERGE, call, name, caller)
            case Read():
                return command("HGETALL", name)
            case Enter(_, entry, until_ms):
                return caller.call(ENTER, [name], member_of(entry), until_ms)
            case ReadIndex():
                return command("ZRANGE", name, 0, ENTRIES_MAX - 1, "REV")
            case Forget(_, entries):
                return command("ZREM", name, *map(member_of, entries))
            case KeepCursor(node, cursor):
                kept = b"%d %d %d" % cursor
                return caller.call(KEEP, [self.keys.cursor(node)], kept, NODE_KEPT_MS)
            case Beat():
                return self._beat(call, caller, drawn)

    def _beat(self, call: Beat, caller: FunctionCaller, drawn: bytes) -> bytes:
        keys, node = self.keys, call.node
        return caller.call(
            BEAT,
            [keys.members, keys.memory, keys.cursor(node), keys.carried(node), keys.pulse,
             keys.edition],
            node.hex(), self._sealed(node, call.data), BEATS_KEPT_MS, drawn, NODE_KEPT_MS,
            call.edition if call.data else b"", call.known, call.late_ms, call.gone_ms,
        )  # fmt: skip

    def squeezed(self, call: Merge, name: bytes, caller: FunctionCaller) -> bytes:
        """Write a merge that a full server has refused, for what of it needs no space."""
        return self._merge(SQUEEZE, call, name, caller)

    def change(
        self, key: str, part: SessionState, base: int, enter: Enter | None, caller: FunctionCaller
    ) -> bytes:
        """Write the command that merges one write of ours, see ``change.lua``.

        enter: what the index of the session's user is told with it.
        """
        arguments: list[Part] = [*change_of(key, part, base, self.names)]
        [node] = part.versions
        names = [self.keys.session(key), self.keys.carried(node)]
        if enter is not None:
            names.append(self.users.indexes(enter.tag)[0])
            arguments += (member_of(enter.entry), enter.until_ms)
        return caller.call(CHANGE, names, self.skew_ms, *arguments)

    def _merge(self, function: str, call: Merge, name: bytes, caller: FunctionCaller) -> bytes:
        fields = fields_of(call.key, call.state, self.names)
        return caller.call(
            function, [name], int(call.whole), self.skew_ms,
            len(call.damaged) // 2, *call.damaged, *fields,
        )

    def answer(self, call: StoreCall, replies: Sequence[Any]) -> StoreAnswer:
        """Read the answers to the commands of a call. Raises WireError."""
        match call:
            case Merge() | Enter():
                [reply] = replies
                if type(reply) is not int or reply not in tuple(MergeAnswer):
                    raise WireError("the store answers a merge by what is none of its answers")
                return MergeAnswer(reply)
            case Read(key):
                states = (self._session(key, reply) for reply in replies)
                return reduce(_joined, states)
            case ReadIndex():
                if any(isinstance(reply, ErrorReply) for reply in replies):
                    return Damaged()
                return tuple(dict.fromkeys(e for reply in replies for e in _entries(reply)))
            case KeepCursor() | Forget():
                return None
            case Beat(known=known):
                return self._beats(replies[0], known)

    def _session(self, key: str, reply: Any) -> SessionState | Damaged | None:
        if isinstance(reply, ErrorReply):
            return Damaged()
        if not isinstance(reply, dict) or not _are_bytes(reply.keys(), reply.values()):
            raise WireError("the store answers HGETALL by what is no hash")
        try:
            return state_of(key, reply, self.names) if reply else None
        except DamagedSession as error:
            return Damaged(tuple(error.parts), error.is_foreign)

    def _beats(self, reply: Any, known: bytes) -> Beats:
        match reply:
            case [int(wall_ms), bytes(memory), kept, others, carried, bytes(edition)] if (
                0 <= wall_ms < 2**53
            ):
                cursor = _with_carried(_cursor(kept), carried)
                if isinstance(others, list):
                    found = filter(None, map(self._member, others))
                    return Beats(wall_ms, memory, cursor, dict(found), edition)
                if type(others) is int and 0 <= others < 2**53 and edition == known:
                    return Beats(wall_ms, memory, cursor, None, edition, others)
        raise WireError("the store answers a beat by what is none")

    def _sealed(self, node: bytes, data: bytes) -> bytes:
        # So that nobody else can say that a node leaves, or is there.
        return b"".join(self.names.seal(_BEAT_KEY, _STAMP, node.hex(), data))

    def _member(self, other: Any) -> tuple[bytes, Told] | None:
        """Read what another node told; None when another secret has sealed it, or it is forged."""
        match other:
            case [bytes(digits), int(age_ms), bytes(sealed), int(followed)] if 0 <= age_ms < 2**53:
                tag, rest = sealed[:TAG_BYTES], sealed[TAG_BYTES:]
                try:
                    name, data = self.names.open(_BEAT_KEY, _STAMP, tag, rest)
                except WireError:
                    return None
                if _NODE.fullmatch(digits) is None or name != digits.decode() or data is None:
                    return None
                return bytes.fromhex(name), Told(data, age_ms, followed == 1)
        raise WireError("the store answers a beat by what is none")


def _joined(
    one: SessionState | Damaged | None, other: SessionState | Damaged | None
) -> SessionState | Damaged | None:
    """Join what two names have of one record. One that can be read counts beside one that cannot:
    somebody was logged out.
    """
    if isinstance(one, SessionState) and isinstance(other, SessionState):
        return merge(one, other)
    return one if isinstance(one, SessionState) or other is None else other


def _entries(reply: Any) -> Iterator[IndexEntry]:
    """Read an index; members that no host can have written are none."""
    if not isinstance(reply, list) or not _are_bytes(reply):
        raise WireError("the store answers ZRANGE by what is no list")
    for member in reply:
        with suppress(WireError):
            yield entry_of(member)


def _cursor(kept: Any) -> Cursor | None:
    """Read a cursor; one that we cannot have written is as good as none."""
    if not isinstance(kept, bytes) or _CURSOR.fullmatch(kept) is None:
        return None
    return Cursor(*map(int, kept.split()))


def _with_carried(cursor: Cursor | None, carried: Any) -> Cursor | None:
    """Return a cursor whose position is not behind what workers have carried to the store."""
    if not isinstance(carried, bytes) or _PLACE.fullmatch(carried) is None:
        return cursor
    floor, position, scanned = cursor or Cursor(0, 0)
    return Cursor(floor, max(position, int(carried, 16)), scanned)


def _are_bytes(*parts: Any) -> bool:
    return all(isinstance(each, bytes) for part in parts for each in part)
