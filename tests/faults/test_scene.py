"""When a session may be unknown."""

import random
from typing import Any, cast

from tests.faults.history import Operation
from tests.faults.scene import BACK_WITHIN_S, Episode, Scene
from tests.faults.store import STORE


def scene_with(*absences: Episode) -> Scene:
    nothing = cast("Any", None)
    return Scene(nothing, nothing, random.Random(1), absences=list(absences))


def asked(node: str, began_s: float, took_s: float = 0.0) -> Operation:
    return Operation("u", "add", "x", node, "a", began_s, took_s)


def test_while_the_store_is_away_and_somewhat_longer() -> None:
    scene = scene_with(Episode(STORE, 10.0, 20.0))
    assert not scene.may_be_unknown(asked("n1", 9.0))
    assert scene.may_be_unknown(asked("n1", 9.0, took_s=1.5))
    assert scene.may_be_unknown(asked("n1", 20.0 + BACK_WITHIN_S))
    assert not scene.may_be_unknown(asked("n1", 20.1 + BACK_WITHIN_S))


def test_while_the_node_that_is_asked_is_away_and_no_other() -> None:
    scene = scene_with(Episode("n1", 10.0))
    assert scene.may_be_unknown(asked("n1", 1000.0))
    assert not scene.may_be_unknown(asked("n2", 1000.0))
