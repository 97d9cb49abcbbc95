"""What a node tells has a new number when the others have to read it again."""

from dataclasses import replace

import pytest

from clustersession.core.identity import Address, Identity, Phase, first_incarnation
from clustersession.node.moment import Moment
from clustersession.node.own_edition import CLOCK_STEP_MS, OwnEdition
from clustersession.wire.messages import Heartbeat

OWN = Identity(b"our node", first_incarnation(2), "a", Address("10.0.0.1", 4000))
TOLD = Heartbeat(OWN, 1000, Phase.READY, True, 5_000, 7, 0, {}, (), (), (), asks=False)


def test_time_that_passes_and_writes_change_nothing() -> None:
    edition = OwnEdition(OWN)
    first = edition.of(TOLD, Moment(1.0, 5_000))
    later = replace(TOLD, uptime_ms=9_000, wall_ms=13_000, head=70, multicast_head=3)
    assert edition.of(later, Moment(9.0, 13_000)) == first


@pytest.mark.parametrize("changed", [
    replace(TOLD, phase=Phase.DRAINING), replace(TOLD, serving=False), replace(TOLD, asks=True),
    replace(TOLD, identity=OWN._replace(incarnation=OWN.incarnation + 1)),
])  # fmt: skip
def test_whatever_else_is_told_is_a_change_each_time(changed: Heartbeat) -> None:
    edition, at = OwnEdition(OWN), Moment(1.0, 5_000)
    numbers = [edition.of(told, at) for told in (TOLD, changed, TOLD, changed)]
    assert len(set(numbers)) == 4


def test_a_clock_that_was_set_is_a_change_and_one_that_is_steered_is_none() -> None:
    edition = OwnEdition(OWN)
    first = edition.of(TOLD, Moment(1.0, 5_000))
    assert edition.of(TOLD, Moment(2.0, 6_000 + CLOCK_STEP_MS - 1)) == first
    second = edition.of(TOLD, Moment(2.0, 6_000 + CLOCK_STEP_MS))
    assert second != first
    assert edition.of(TOLD, Moment(2.0, 6_001 + CLOCK_STEP_MS)) == second
    assert edition.of(TOLD, Moment(2.0, 6_000)) not in (first, second)


def test_no_start_of_a_node_has_the_numbers_of_another() -> None:
    at = Moment(1.0, 5_000)
    later = OWN._replace(incarnation=first_incarnation(3))
    assert OwnEdition(later).of(TOLD, at) > OwnEdition(OWN).of(TOLD, at) + 1000
