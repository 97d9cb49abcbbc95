"""When silence counts, and when a node distrusts itself first."""

import pytest

from clustersession.core.detector import HEALTH_MAX, HEALTH_RECOVERY_S, FailureDetector


def detector() -> FailureDetector:
    return FailureDetector(0.5, 3.0)


@pytest.mark.parametrize(
    ("health", "suspect_s", "dead_s"), [(0, 1.5, 3.0), (1, 3.0, 6.0), (4, 7.5, 15.0)]
)
def test_patience_grows_with_distrust_in_oneself(
    health: int, suspect_s: float, dead_s: float
) -> None:
    patient = detector()
    for _ in range(health):
        patient.distrust(0.0)
    assert (patient.suspect_after_s, patient.dead_after_s) == (suspect_s, dead_s)


def test_distrust_has_a_bound() -> None:
    patient = detector()
    for _ in range(100):
        patient.distrust(0.0)
    assert patient.health == HEALTH_MAX


@pytest.mark.parametrize(
    ("gap_s", "paused_s"), [(0.5, 0.0), (0.9, 0.0), (1.99, 0.0), (2.5, 2.0), (60.5, 60.0)]
)
def test_a_pause_of_our_own_is_told_from_a_late_timer(gap_s: float, paused_s: float) -> None:
    ticking = detector()
    assert ticking.tick(100.0) == 0.0
    assert ticking.tick(100.0 + gap_s) == pytest.approx(paused_s)
    assert ticking.health == (1 if paused_s else 0)


def test_trust_returns_step_by_step() -> None:
    recovering = detector()
    recovering.distrust(0.0)
    recovering.distrust(0.0)
    now_s, healths = 0.0, []
    while now_s < 2.5 * HEALTH_RECOVERY_S:
        recovering.tick(now_s)
        healths.append(recovering.health)
        now_s += 0.5
    assert healths[0] == 2
    assert healths[-1] == 0
    assert healths == sorted(healths, reverse=True)
    assert {2, 1, 0} == set(healths)
