"""Decides when silence becomes suspicion, and that death, unless this node itself was late.

Suspicion comes at half the drop time, which leaves the other half for probes; death at the drop
time. After Lifeguard (Dadgar, Phillips, Currey 2018) a node that notices trouble of its own, a
timer that came late or a suspicion that turned out wrong, becomes more patient with the others. A
node that was itself paused does not count the pause as their silence.
"""

from dataclasses import dataclass

SUSPECT_SHARE = 0.5
PAUSE_INTERVALS = 3.0
HEALTH_MAX = 4
HEALTH_RECOVERY_S = 10.0


@dataclass(slots=True)
class FailureDetector:
    """Gives thresholds in monotonic seconds, scaled by how far this node trusts itself.

    health: 0 when all is well, one more for each trouble of our own, up to HEALTH_MAX; one less
        after HEALTH_RECOVERY_S without any.
    _health_changed_s: when it last went up or down.
    _last_tick_s: when ``tick`` was called last; None before the first time.
    """

    heartbeat_interval_s: float
    drop_time_s: float
    health: int = 0
    _health_changed_s: float = 0.0
    _last_tick_s: float | None = None

    @property
    def suspect_after_s(self) -> float:
        """Return the silence after which a member is suspected."""
        return self.drop_time_s * SUSPECT_SHARE * (1 + self.health)

    @property
    def dead_after_s(self) -> float:
        """Return the silence after which a suspected member that answered no probe is dead."""
        return self.drop_time_s * (1 + self.health)

    def tick(self, now_s: float) -> float:
        """Note that time has passed; to be called at least once per heartbeat interval.

        Returns for how many seconds this node itself stood still beyond what is normal, 0 mostly.
        """
        last_s, self._last_tick_s = self._last_tick_s, now_s
        if last_s is None:
            return 0.0
        late_s = now_s - last_s - self.heartbeat_interval_s
        if late_s > PAUSE_INTERVALS * self.heartbeat_interval_s:
            self.distrust(now_s)
            return late_s
        if self.health and now_s - self._health_changed_s > HEALTH_RECOVERY_S:
            self.health -= 1
            self._health_changed_s = now_s
        return 0.0

    def resume(self, now_s: float) -> None:
        """Begin to judge again, after a time in which nobody could be heard by no fault of ours."""
        self._last_tick_s = now_s

    def distrust(self, now_s: float) -> None:
        """Be more patient: we were late, or wrong about somebody."""
        self.health = min(self.health + 1, HEALTH_MAX)
        self._health_changed_s = now_s
