"""Knows who else is there by the heartbeats that all nodes leave in the store.

How long ago, the store's clock says. While the store is away nobody is judged: what was seen last
is better than nobody.

A beat is answered by what all others tell only when that has changed, or somebody is late: what all
read at each beat would cost the store the square of the hosts. Otherwise everybody who was followed
then has beaten meanwhile, and the rest follows from what was read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clustersession.core.errors import WireError
from clustersession.core.identity import Identity, Phase
from clustersession.core.membership import MembershipEvent
from clustersession.node.context import Context
from clustersession.node.moment import Moment
from clustersession.node.news import MessageDropped
from clustersession.node.store_calls import Beats, Told
from clustersession.node.wrong_times import WrongTimes
from clustersession.wire.messages import Heartbeat, decode_message

Tell = Callable[[list[MembershipEvent], Moment], None]

BEATS_UNREAD_MAX = 20
"""After so many beats all is read again, whatever went wrong; after more where there are more
nodes, so that it costs each of them the same."""


@dataclass(frozen=True, slots=True)
class _Word:
    """Is what a node told, by our monotonic clock.

    clock_ms: its wall clock at our zero. began_s: when its life began.
    """

    identity: Identity
    phase: Phase
    serving: bool
    head: int
    clock_ms: float
    began_s: float


class StoreMembers:
    """Keeps the table of members by what the store says.

    _followed: what those told whose silence we would be told of. _known: the edition of what all
    have told. _unread: how many beats ago that was read.
    """

    def __init__(self, context: Context, wrong_times: WrongTimes, tell: Tell) -> None:
        self._context = context
        self._wrong_times = wrong_times
        self._tell = tell
        self._followed: dict[bytes, _Word] = {}
        self._known = b""
        self._unread = 0

    @property
    def known(self) -> bytes:
        """Return the edition of what all have told, as we know it; empty: it is to be read."""
        is_old = self._unread >= max(BEATS_UNREAD_MAX, len(self._followed))
        return b"" if is_old else self._known

    def forget(self) -> None:
        """Have all be read again: the connection has ended."""
        self._followed, self._known = {}, b""

    def beaten(self, beats: Beats, at: Moment, *, told_before: bool) -> None:
        """Take what the others told last, and how many milliseconds ago.

        Not ``told_before``: the store was away since, or has forgotten; silence counts from now.
        """
        table = self._context.membership
        if not told_before:
            table.excuse(at.now_s)
        if beats.members is None:
            self._unread += 1
            for word in self._followed.values():
                self._heard(word, beats.silence_ms / 1000, at)
        else:
            self._known, self._unread, self._followed = beats.edition, 0, {}
            self._read(beats.members, at)
        self._tell(table.handle_timer(at.now_s), at)

    def _read(self, members: Mapping[bytes, Told], at: Moment) -> None:
        table = self._context.membership
        for node, told in sorted(members.items()):
            if node == self._context.own.node:
                continue
            if not told.data:
                self._tell(table.said_goodbye(node, at.now_s), at)
                continue
            try:
                message = decode_message(told.data)
            except WireError as error:
                self._context.tell(MessageDropped(node, str(error)))
                continue
            if not isinstance(message, Heartbeat) or message.identity.node != node:
                continue
            age_s = max(told.age_ms, 0) / 1000
            word = _word(message, at.now_s - age_s)
            if told.is_followed:
                self._followed[node] = word
            self._heard(word, age_s, at)

    def _heard(self, word: _Word, age_s: float, at: Moment) -> None:
        context, identity = self._context, word.identity
        table = context.membership
        member = table.get(identity.node)
        present = member is not None and member.present
        if present and table.is_stale(identity):
            # Who is gone may come back with an older replica, and then counts its lives anew.
            return
        if age_s >= context.settings.drop_time_s / 2:
            # What is older than a suspicion is no word of it.
            return
        heard_s = at.now_s - age_s
        if member is None or not present:
            self._tell(table.linked(identity, heard_s), at)
        elif heard_s > member.heard_s:
            self._tell(table.heard(identity, heard_s), at)
        member = table.get(identity.node)
        if member is None:
            return
        clock_ms = round(word.clock_ms + at.now_s * 1000)
        self._wrong_times.on_heartbeat(identity.node, clock_ms, at)
        uptime_ms = round((at.now_s - word.began_s) * 1000)
        skew_ms = clock_ms - at.wall_ms
        if member.note(word.phase, word.serving, uptime_ms, word.head, skew_ms):
            context.view_is_stale = True


def _word(message: Heartbeat, told_s: float) -> _Word:
    return _Word(
        message.identity, message.phase, message.serving, message.head,
        message.wall_ms - told_s * 1000, told_s - message.uptime_ms / 1000,
    )
