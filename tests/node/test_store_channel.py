"""Groups of calls: numbered, answered once, given up with their connection."""

from clustersession.node.moment import Moment
from clustersession.node.store_channel import StoreChannel
from tests.node.stored import Stored


def at(now_s: float = 0.0) -> Moment:
    return Moment(now_s, 0)


def channel() -> StoreChannel:
    fresh = StoreChannel(Stored().engine.context)
    fresh.open(at())
    return fresh


def test_a_group_gets_its_own_answers() -> None:
    line, got = channel(), []
    for name in "ab":
        line.ask((), lambda answers, _, name=name: got.append((name, answers)), at())
    line.answered(2, ["second"], at())
    line.answered(1, ["first"], at())
    assert got == [("b", ["second"]), ("a", ["first"])]


def test_what_was_not_answered_is_given_up_with_the_connection() -> None:
    line, got = channel(), []
    line.ask((), lambda answers, _: got.append(answers), at())
    line.close()
    line.open(at())
    line.answered(1, ["late"], at())
    assert got == []
    line.ask((), lambda answers, _: got.append(answers), at())
    assert line.number == 2


def test_without_a_connection_nothing_is_asked() -> None:
    line = StoreChannel(Stored().engine.context)
    line.ask((), lambda answers, _: None, at())
    assert line.number == 0


def test_silence_is_counted_from_the_question_or_the_last_word() -> None:
    line = channel()
    assert line.silent_s(at(100.0)) == 0.0
    line.ask((), lambda answers, _: None, at(100.0))
    line.ask((), lambda answers, _: None, at(101.0))
    assert line.silent_s(at(103.0)) == 3.0
    line.answered(1, (), at(103.0))
    assert line.silent_s(at(104.0)) == 1.0
