"""Notices that the replica's times lie far in everybody's future: then the node begins again.

A process whose clock was wrong may have written here, or this host's clock was. Peers refuse such
times, and a hybrid clock never goes back by itself. Whether the replica is wrong, or only this
host's clock of now, the peers' clocks tell: most of them must agree with ours.
"""

from clustersession.node.context import Context
from clustersession.node.effects import BeginAgain
from clustersession.node.moment import Moment
from clustersession.node.news import TimesWrong

TICKS_MIN = 3
"""So many heartbeats in a row: a clock that is being set may be seen in the midst of it."""


class WrongTimes:
    """Compares the replica's latest time with the clocks of this host and its peers."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # By peer, its wall clock at our monotonic zero: steps of our wall clock do not touch it.
        self._clocks_ms: dict[bytes, float] = {}
        # How many heartbeats in a row the replica was ahead of everybody.
        self._ticks = 0

    def on_heartbeat(self, node: bytes, wall_ms: int, at: Moment) -> None:
        """Note a peer's clock."""
        self._clocks_ms[node] = wall_ms - at.now_s * 1000

    def forget(self, node: bytes) -> None:
        """Forget a peer that is gone."""
        self._clocks_ms.pop(node, None)

    def check(self, at: Moment) -> None:
        """Begin again, when the replica has been ahead for long enough; with each heartbeat."""
        context = self._context
        ahead_ms = context.replica.highest_ms() - at.wall_ms
        if ahead_ms <= context.settings.stamp_lead_ms_max or not self._most_agree(at):
            self._ticks = 0
            return
        self._ticks += 1
        if self._ticks >= TICKS_MIN:
            context.tell(TimesWrong(ahead_ms))
            context.emit(BeginAgain(date_again=True))

    def _most_agree(self, at: Moment) -> bool:
        bound_ms = self._context.settings.clock_skew_s_max * 1000
        skews_ms = [clock + at.now_s * 1000 - at.wall_ms for clock in self._clocks_ms.values()]
        agreeing = sum(abs(skew_ms) <= bound_ms for skew_ms in skews_ms)
        return 2 * agreeing > len(skews_ms)
