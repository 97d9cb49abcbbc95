"""In which order what is wanted of the store is asked for, and what is wanted once more."""

from clustersession.core.revocation import principal_tag, revocation_key
from clustersession.node.read_queue import ReadQueue

RECORD = revocation_key(principal_tag("ann"))


def queue_of(*keys: str) -> ReadQueue:
    queue = ReadQueue()
    for key in keys:
        queue.want(key)
    return queue


def test_records_go_before_the_sessions_that_wait_for_them() -> None:
    queue = queue_of("b", "a", RECORD)
    assert list(queue.in_order()) == [RECORD, "b", "a"]
    assert len(queue) == 3
    assert queue.is_wanted(RECORD)
    queue = ReadQueue()
    queue.want_in_turn(["a", RECORD])
    assert list(queue.in_order()) == ["a", RECORD], "nothing waits for it"
    assert not queue.is_wanted(RECORD)


def test_what_was_asked_for_is_not_wanted_until_it_is_answered() -> None:
    queue = queue_of("a", "b", RECORD)
    queue.ask([RECORD, "a"])
    assert list(queue.in_order()) == ["b"]
    assert queue.is_asked("a")
    assert queue.unasked(["a", "b"]) == ["b"]
    assert queue.groups == 1
    assert queue.answer([RECORD, "a"]) == []
    assert queue.groups == 0
    assert not queue.is_asked("a")
    assert list(queue.in_order()) == ["b"]


def test_what_changes_under_way_is_wanted_once_more() -> None:
    queue = queue_of("a", "b")
    assert not queue.want_again_if_asked("a")
    queue.ask(["a", "b"])
    assert queue.want_again_if_asked("a")
    queue.answer(["a", "b"])
    assert list(queue.in_order()) == ["a"]
    queue.ask(["a"])
    queue.want_again_what_was_asked()
    queue.answer(["a"])
    assert list(queue.in_order()) == ["a"]


def test_what_a_request_misses_under_way_is_asked_for_at_once_when_that_is_answered() -> None:
    queue = queue_of("a")
    assert queue.miss("a")
    queue.ask(["a", "b"])
    assert not queue.miss("b")
    assert not queue.miss("a")
    assert queue.answer(["a", "b"]) == ["a", "b"]
    queue.ask(["a", "b"])
    assert queue.answer(["a", "b"]) == []


def test_nothing_else_is_wanted_than_what_sessions_wait_for_and_is_not_under_way() -> None:
    other = revocation_key(principal_tag("bob"))
    queue = queue_of("a", RECORD)
    queue.ask([other])
    queue.want_only([RECORD, other])
    assert list(queue.in_order()) == [RECORD]


def test_a_check_goes_on_after_the_last_key_until_there_are_no_more() -> None:
    queue = ReadQueue()
    assert not queue.is_checking
    queue.check_all()
    assert (queue.is_checking, queue.checked_up_to) == (True, "")
    queue.ask(["b"])
    queue.check(["a", "b", "c"])
    assert list(queue.in_order()) == ["a", "c"]
    assert queue.checked_up_to == "c"
    queue.check([])
    assert not queue.is_checking


def test_a_check_that_is_wanted_during_another_begins_when_that_is_through() -> None:
    queue = ReadQueue()
    queue.check_once_more()
    assert queue.is_checking
    queue.check(["a"])
    queue.check_once_more()
    assert queue.checked_up_to == "a"
    queue.check([])
    assert (queue.is_checking, queue.checked_up_to) == (True, "")
    queue.check([])
    assert not queue.is_checking
