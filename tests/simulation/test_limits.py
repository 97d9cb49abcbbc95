"""The checker of limited attributes notices what is there too long, too short, or again."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from clustersession.core.expiring_values import expiring
from clustersession.core.state import Register, SessionState
from tests.simulation.ledger import Ledger, Violation
from tests.simulation.limits import LIMITED, check_reclaimed, judge_visible, was_written

NODE, UNTIL_MS, VALUE = b"nodenode", 5_000, expiring(b"\x01", 5_000)
STAMP = "key", 7, NODE


class Scene:
    """A host at some time, which has found so much to be over."""

    def __init__(self, now_ms: int, *over: tuple[str, int, bytes]) -> None:
        self.ledger = Ledger()
        self.ledger.written["key", LIMITED, 7, NODE] = VALUE
        self.replica = SimpleNamespace(over=set(over), disk=SimpleNamespace(full=False))
        world = SimpleNamespace(ledger=self.ledger, marks=self.ledger.marks)
        self.host = SimpleNamespace(
            name="a", world=world, replica=self.replica, was_full=False,
            running=SimpleNamespace(swept_ms=now_ms),
        )
        world.hosts = [self.host]
        self.worker = SimpleNamespace(host=self.host, wall_ms=lambda: now_ms)

    def judge(self, value: bytes | None, *, shown: bool) -> None:
        """A request meets a register, and shows it or not."""
        state = SessionState(0, 0, 0, {LIMITED: Register(7, NODE, 3, value)})
        visit = SimpleNamespace(state=state, session={LIMITED: 1} if shown else {})
        judge_visible(cast(Any, self.worker), "key", cast(Any, visit))


@pytest.mark.parametrize(("now_ms", "value", "shown"), [
    (4_999, VALUE, True), (5_000, VALUE, False), (9_000, None, False), (1_000, None, False),
])  # fmt: skip
def test_what_is_right_is_passed_over(now_ms: int, value: bytes | None, shown: bool) -> None:
    scene = Scene(now_ms)
    scene.judge(value, shown=shown)
    assert scene.replica.over == (set() if shown else {STAMP})


@pytest.mark.parametrize(("scene", "shown", "wrong"), [
    (Scene(5_000), True, "after its time"),
    (Scene(4_999, STAMP), True, "again"),
    (Scene(4_999), False, "before its time"),
])  # fmt: skip
def test_what_is_wrong_is_noticed(scene: Scene, shown: bool, wrong: str) -> None:
    with pytest.raises(Violation, match=wrong):
        scene.judge(VALUE, shown=shown)


def test_a_deletion_was_written_by_nobody_before_its_time() -> None:
    ledger, deleted = Scene(0).ledger, Register(7, NODE, 4, None)
    assert [was_written(ledger, "key", LIMITED, deleted, at_ms) for at_ms in (4_999, 5_000)] == [
        False, True,
    ]


def test_bytes_that_nobody_reclaims_are_noticed() -> None:
    state = SessionState(0, 0, 0, {LIMITED: Register(7, NODE, 3, VALUE)})
    check_reclaimed(cast(Any, Scene(UNTIL_MS + 9_000).host), "key", state, 0.0)
    with pytest.raises(Violation, match="keeps bytes"):
        check_reclaimed(cast(Any, Scene(UNTIL_MS + 60_000).host), "key", state, 0.0)
