"""What waits after a power cut comes back when no logout can be undone by it, and not before."""

import pytest

from clustersession.node import news
from clustersession.node.journal_port import JournalPage
from clustersession.node.recovery import DAMAGED, PAGE_LATE_S
from tests.node.journals import JournalWorld, formed_with_journals
from tests.node.world import key


def with_sessions(names: str = "ab", **settings: object) -> JournalWorld:
    world = formed_with_journals(names, **settings)
    world.write("a", key(1), create=True, x="1")
    world.write("a", key(2), create=True, x="2")
    world.run(2.0)
    return world


def test_all_come_back_and_have_their_sessions_again() -> None:
    world = with_sessions("abc")
    world.end("b", key(2))
    world.run(1.0)
    world.cut_power("a", "b", "c")
    world.start("a", "b")
    world.run(3.0)
    assert world.stage("a") == world.stage("b") == "waiting for members"
    assert world.values("a", key(1)) is None
    assert world.nodes["a"].replica.get(key(2)).ended is not None
    world.start("c")
    world.run(1.0)
    assert all(world.values(name, key(1)) == {"x": "1"} for name in "abc")
    assert all(world.values(name, key(2)) is None for name in "abc")
    assert all(world.journals[name].over == 1 for name in "abc")


def test_who_was_away_for_the_logout_and_boots_first_does_not_revive_it() -> None:
    world = with_sessions()
    world.cut_power("b")
    world.run(10.0)
    world.end("a", key(1))
    world.run(1.0)
    world.cut_power("a")
    world.start("b")
    world.run(20.0)
    assert world.stage("b") == "waiting for members"
    assert world.values("b", key(1)) is None
    world.start("a")
    world.run(5.0)
    assert world.stage("b") == "over"
    assert [world.values(name, key(1)) for name in "ab"] == [None, None]
    assert [world.values(name, key(2)) for name in "ab"] == [{"x": "2"}] * 2


def test_who_was_last_waits_for_nobody() -> None:
    world = with_sessions()
    world.cut_power("b")
    world.run(10.0)
    world.cut_power("a")
    world.start("a")
    world.run(1.0)
    assert world.values("a", key(1)) == {"x": "1"}


def test_a_fresh_node_proves_nothing() -> None:
    world = with_sessions()
    world.cut_power("a", "b")
    world.journals["b"].past = type(world.journals["b"].past)()
    world.start("a", "b")
    world.run(30.0)
    assert world.stage("b") == "over"
    assert world.stage("a") == "waiting for members"


def test_whom_a_recovering_member_requires_is_required_too() -> None:
    """C came while A was away, and is the only one who knows of the logout."""
    world = formed_with_journals("ab")
    world.write("a", key(1), create=True, x="1")
    world.run(2.0)
    world.cut_power("a")
    world.run(10.0)
    world.add("c")
    world.start("c")
    world.run(5.0)
    world.cut_power("b")
    world.end("c", key(1))
    world.run(10.0)
    world.cut_power("c")
    world.start("a", "b")
    world.run(20.0)
    assert world.stage("a") == world.stage("b") == "waiting for members"
    world.start("c")
    world.run(5.0)
    assert [world.stage(name) for name in "abc"] == ["over"] * 3
    assert [world.values(name, key(1)) for name in "abc"] == [None] * 3


def test_an_operator_says_who_will_not_come_back_and_all_believe_it() -> None:
    world = with_sessions("abc")
    gone = world.nodes["c"].replica.node
    world.cut_power("a", "b", "c")
    world.start("a", "b")
    world.run(5.0)
    status = world.nodes["a"].running.recovery.status(world.at(world.nodes["a"]))
    assert status.missing == {gone: "c"}
    world.dismiss("a", gone)
    world.run(1.0)
    assert [world.values(name, key(1)) for name in "ab"] == [{"x": "1"}] * 2


def test_what_waits_too_long_is_dropped_and_nobody_takes_our_word_any_more() -> None:
    world = with_sessions("abc", recovery_wait_s=20.0)
    world.cut_power("a", "b", "c")
    world.start("a")
    world.run(25.0)
    assert world.stage("a") == "over"
    assert world.nodes["a"].seen(news.RecoveryDropped)
    assert world.values("a", key(1)) is None
    assert world.journals["a"].life().former == ()
    world.start("b")
    world.run(10.0)
    assert world.stage("b") == "waiting for members"


def test_a_damaged_journal_vouches_for_nothing_and_waits_for_an_operator() -> None:
    world = with_sessions()
    world.cut_power("a", "b")
    world.change_past("a", whole=False)
    world.start("a", "b")
    world.run(10.0)
    assert world.stage("a") == world.stage("b") == "waiting for members"
    world.dismiss("a", DAMAGED)
    world.run(1.0)
    assert world.stage("a") == world.stage("b") == "over"
    assert [world.values(name, key(1)) for name in "ab"] == [{"x": "1"}] * 2


def test_a_node_that_never_lost_its_power_is_met_under_its_own_id() -> None:
    world = with_sessions("abc")
    world.cut_power("a")
    world.start("a")
    world.run(2.0)
    assert world.stage("a") == "over"
    assert world.values("a", key(1)) == {"x": "1"}


@pytest.mark.parametrize("again", ["a", "b"])
def test_an_agent_that_is_killed_while_it_recovers_begins_anew(again: str) -> None:
    world = with_sessions()
    world.cut_power("a", "b")
    world.start("a")
    world.run(2.0)
    past = world.journals["a"].past
    world.change_past(
        "a", node=world.nodes["a"].replica.node, former=world.journals["a"].life().former,
        members=past.members,
    )
    world.kill("a")
    world.run(0.1)
    world.start(again)
    world.run(2.0)
    world.start("a" if again == "b" else "b")
    world.run(2.0)
    assert [world.values(name, key(1)) for name in "ab"] == [{"x": "1"}] * 2


AWAY_S = 400.0
BACK_MS = -700_000
"""So far back that the end lies too far ahead for a peer's word, and the session does not."""


def test_ends_of_our_own_count_though_our_clock_came_back_wrong() -> None:
    """A host without a battery begins where its clock was saved last; peers rely on its ends."""
    world = with_sessions()
    world.cut_power("b")
    world.run(AWAY_S)
    world.end("a", key(1))
    world.run(2.0)
    world.cut_power("a")
    world.nodes["a"].skew_ms = BACK_MS
    world.start("a", "b")
    world.run(5.0)
    assert world.stage("b") == "over"
    assert [world.values(name, key(1)) for name in "ab"] == [None, None]
    assert world.values("b", key(2)) == {"x": "2"}


def test_sessions_of_before_come_back_by_a_clock_that_is_behind_them() -> None:
    world = with_sessions()
    world.cut_power("a", "b")
    for name in "ab":
        world.nodes[name].skew_ms = -10**9
    world.start("a", "b")
    world.run(5.0)
    assert [world.values(name, key(1)) for name in "ab"] == [{"x": "1"}] * 2


def test_ends_that_our_clock_does_not_let_us_take_are_waited_for() -> None:
    world = with_sessions()
    world.cut_power("b")
    world.run(AWAY_S)
    world.end("a", key(1))
    world.run(2.0)
    node = world.nodes["b"]
    node.skew_ms = BACK_MS
    world.start("b")
    world.run(20.0)
    assert world.values("b", key(1)) is None
    assert world.stage("b") == "waiting for members"
    node.skew_ms = 0
    world.run(20.0)
    assert world.stage("b") == "over"
    assert world.values("b", key(1)) is None
    assert world.values("b", key(2)) == {"x": "2"}


@pytest.mark.parametrize("wait_s", [0.0, 0.003])
def test_ends_count_however_short_the_wait_is(wait_s: float) -> None:
    """Who waits for nobody must not forget what it knows itself while its disk reads."""
    world = with_sessions(recovery_wait_s=wait_s)
    for number in (3, 4, 5, 6):
        world.write("a", key(number), create=True, x="1")
        world.end("a", key(number))
    world.run(2.0)
    world.cut_power("a")
    world.kill("b")
    world.start("a")
    world.run(1.0)
    assert world.stage("a") == "over"
    ended = [world.nodes["a"].replica.get(key(number)) for number in (3, 4, 5, 6)]
    assert all(state is not None and state.ended is not None for state in ended)
    assert world.values("a", key(1)) is None
    assert world.nodes["a"].seen(news.RecoveryDropped)


def test_a_journal_that_cannot_be_read_is_dropped_all_the_same() -> None:
    world = with_sessions(recovery_wait_s=0.0)
    world.cut_power("a")
    world.kill("b")
    world._page = lambda *_: JournalPage(True, "another one", (), "", False)  # type: ignore
    world.start("a")
    world.run(PAGE_LATE_S - 1)
    assert world.stage("a") == "loading ends"
    world.run(2.0)
    assert world.stage("a") == "over"
