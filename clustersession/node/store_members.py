"""Knows who else is there by the heartbeats that all nodes leave in the store.

How long ago, the store's clock says. While the store is away nobody is judged: what was seen last
is better than nobody.
"""

from collections.abc import Callable, Mapping

from clustersession.core.errors import WireError
from clustersession.core.membership import MembershipEvent
from clustersession.node.context import Context
from clustersession.node.moment import Moment
from clustersession.node.news import MessageDropped
from clustersession.node.wrong_times import WrongTimes
from clustersession.wire.messages import Heartbeat, decode_message

Tell = Callable[[list[MembershipEvent], Moment], None]


class StoreMembers:
    """Keeps the table of members by what the store says."""

    def __init__(self, context: Context, wrong_times: WrongTimes, tell: Tell) -> None:
        self._context = context
        self._wrong_times = wrong_times
        self._tell = tell

    def beaten(
        self, members: Mapping[bytes, tuple[bytes, int]], at: Moment, *, told_before: bool
    ) -> None:
        """Take what all others told last, and how many milliseconds ago.

        Not ``told_before``: the store was away since, or has forgotten; silence counts from now.
        """
        table = self._context.membership
        if not told_before:
            table.excuse(at.now_s)
        for node, (data, age_ms) in sorted(members.items()):
            if node == self._context.own.node:
                continue
            if not data:
                self._tell(table.said_goodbye(node, at.now_s), at)
                continue
            try:
                message = decode_message(data)
            except WireError as error:
                self._context.tell(MessageDropped(node, str(error)))
                continue
            if isinstance(message, Heartbeat) and message.identity.node == node:
                self._heard(message, max(age_ms, 0) / 1000, at)
        self._tell(table.handle_timer(at.now_s), at)

    def _heard(self, message: Heartbeat, age_s: float, at: Moment) -> None:
        context, identity = self._context, message.identity
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
        skew_ms = message.wall_ms + round(age_s * 1000) - at.wall_ms
        self._wrong_times.on_heartbeat(identity.node, at.wall_ms + skew_ms, at)
        if member.note(message.phase, message.serving, message.uptime_ms, message.head, skew_ms):
            context.view_is_stale = True
