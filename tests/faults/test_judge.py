"""The judge, on histories written by hand: what it accepts and what it must reject."""

from typing import Any

from tests.faults.history import Operation, Outcome
from tests.faults.judge import Reads, Verdict, ids_of, judge

FOUND = ("lost", "resurrected", "invented", "swapped", "vanished", "disagreements", "errors")


def holding(owner: str, *values: str, **more: Any) -> dict[str, Any]:
    return {"owner": owner, "values": list(values), **more}


def done(kind: str, value: str = "", new_id: str = "", **more: Any) -> Operation:
    data = holding("u", *([value] if kind == "add" else []))
    operation = Operation("u", kind, value, "n1", "", 0.0, outcome=Outcome.ACKNOWLEDGED)
    operation.new_id, operation.data = new_id, {**data, **more}
    return operation


def undecided(kind: str, value: str = "", outcome: Outcome = Outcome.UNKNOWN) -> Operation:
    return Operation("u", kind, value, "n1", "", 0.0, outcome=outcome)


CREATED = done("create", new_id="a")


def everywhere(**ids: dict[str, Any] | None) -> Reads:
    return {"n1": ids, "n2": dict(ids)}


def found(verdict: Verdict) -> dict[str, int]:
    return {name: n for name in FOUND if (n := len(getattr(verdict, name)))}


def test_what_was_acknowledged_and_is_there_is_fine() -> None:
    history = [CREATED, done("add", "x"), done("count", count=1, values=["x"])]
    verdict = judge(history, everywhere(a=holding("u", "x", count=1)))
    assert found(verdict) == {}
    assert (verdict.acknowledged, verdict.unknown, verdict.stale) == (3, 0, 0)


def test_an_acknowledged_value_that_is_missing_is_lost_on_each_node_that_lacks_it() -> None:
    history = [CREATED, done("add", "x")]
    assert found(judge(history, everywhere(a=holding("u")))) == {"lost": 2}
    one_lacks_it = {"n1": {"a": holding("u")}, "n2": {"a": holding("u", "x")}}
    assert found(judge(history, one_lacks_it)) == {"lost": 1, "disagreements": 1}


def test_an_unknown_value_may_be_there_or_not() -> None:
    history = [CREATED, undecided("add", "x")]
    assert found(judge(history, everywhere(a=holding("u", "x")))) == {}
    assert found(judge(history, everywhere(a=holding("u")))) == {}


def test_a_refused_value_must_not_be_there() -> None:
    history = [CREATED, undecided("add", "x", Outcome.REFUSED)]
    assert found(judge(history, everywhere(a=holding("u", "x")))) == {"invented": 2}


def test_a_session_that_is_gone_is_lost_with_all_its_writes() -> None:
    history = [CREATED, done("add", "x")]
    assert found(judge(history, everywhere(a=None))) == {"lost": 4}


def test_a_session_that_was_logged_out_must_stay_gone() -> None:
    history = [CREATED, done("logout")]
    assert found(judge(history, everywhere(a=None))) == {}
    one_kept_it = {"n1": {"a": None}, "n2": {"a": holding("u")}}
    assert found(judge(history, one_kept_it)) == {"resurrected": 1}


def test_a_write_under_an_ended_id_may_be_taken_and_must_go() -> None:
    ghost = done("ghost", "x")
    ghost.sent_id = "a"
    history = [CREATED, done("logout"), ghost]
    assert found(judge(history, everywhere(a=None))) == {}
    assert found(judge(history, everywhere(a=holding("u", "x")))) == {"resurrected": 2}
    assert judge(history, everywhere(a=None)).acknowledged == 2


def test_an_unknown_logout_may_have_happened_but_not_by_halves() -> None:
    history = [CREATED, done("add", "x"), undecided("logout")]
    assert found(judge(history, everywhere(a=None))) == {}
    assert found(judge(history, everywhere(a=holding("u", "x")))) == {}
    assert found(judge(history, everywhere(a=holding("u")))) == {"lost": 2}


def test_an_id_before_a_rotation_must_not_work_and_the_new_one_must_hold_everything() -> None:
    history = [CREATED, done("add", "x"), done("login", "ann", "b", values=["x"])]
    now = holding("u", "x", user="ann")
    assert found(judge(history, everywhere(a=None, b=now))) == {}
    assert found(judge(history, everywhere(a=holding("u", "x"), b=now))) == {"resurrected": 2}
    assert found(judge(history, everywhere(a=None, b=holding("u", "x")))) == {"lost": 2}
    assert found(judge(history, everywhere(a=None, b=holding("u", user="ann")))) == {"lost": 2}


def test_a_session_of_somebody_else_is_swapped() -> None:
    assert found(judge([CREATED], everywhere(a=holding("v")))) == {"swapped": 2}
    seen = done("add", "x", owner="v")
    assert found(judge([CREATED, seen], everywhere(a=holding("u", "x")))) == {"swapped": 1}


def test_a_value_nobody_wrote_is_invented_also_in_a_response() -> None:
    assert found(judge([CREATED], everywhere(a=holding("u", "y")))) == {"invented": 2}
    seen = done("add", "x", values=["x", "y"])
    assert found(judge([CREATED, seen], everywhere(a=holding("u", "x")))) == {"invented": 1}


def test_a_live_session_that_a_node_denies_has_vanished() -> None:
    denied = undecided("add", "x", Outcome.MISSING)
    assert found(judge([CREATED, denied], everywhere(a=holding("u")))) == {"vanished": 1}
    logged_out = [CREATED, undecided("logout"), denied]
    assert found(judge(logged_out, everywhere(a=None))) == {}


def test_a_session_may_be_unknown_where_that_is_excused_to_a_node_that_never_held_it() -> None:
    elsewhere = undecided("add", "x", Outcome.MISSING)
    elsewhere.node = "n2"
    verdict = judge([CREATED, elsewhere], everywhere(a=holding("u")), lambda operation: True)
    assert (found(verdict), verdict.guests) == ({}, 1)
    not_excused = judge([CREATED, elsewhere], everywhere(a=holding("u")), lambda operation: False)
    assert (found(not_excused), not_excused.guests) == ({"vanished": 1}, 0)


def test_no_excuse_counts_for_a_node_that_has_acknowledged_something_under_the_id() -> None:
    denied = undecided("add", "x", Outcome.MISSING)
    excused = lambda operation: True  # noqa: E731
    assert found(judge([CREATED, denied], everywhere(a=holding("u")), excused)) == {"vanished": 1}
    # Under the new id it is another node that holds it.
    renewed = done("login", "ann", "b")
    renewed.node = "n2"
    history = [CREATED, renewed, denied]
    now = holding("u", user="ann")
    verdict = judge(history, everywhere(a=None, b=now), excused)
    assert (found(verdict), verdict.guests) == ({}, 1)


def test_the_counter_must_be_the_last_one_acknowledged() -> None:
    history = [CREATED, done("count", count=1), done("count", count=2)]
    assert found(judge(history, everywhere(a=holding("u", count=2)))) == {}
    assert found(judge(history, everywhere(a=holding("u", count=1)))) == {"lost": 2}
    assert found(judge(history, everywhere(a=holding("u", count=3)))) == {
        "lost": 2, "invented": 2,
    }


def test_a_counter_with_an_unknown_attempt_is_only_bounded() -> None:
    history = [CREATED, done("count", count=1), undecided("count")]
    for count in (1, 2):
        assert found(judge(history, everywhere(a=holding("u", count=count)))) == {}
    assert found(judge(history, everywhere(a=holding("u", count=3)))) == {"invented": 2}


def test_a_server_error_is_reported_and_leaves_the_outcome_open() -> None:
    history = [CREATED, undecided("add", "x", Outcome.ERROR)]
    for values in ((), ("x",)):
        assert found(judge(history, everywhere(a=holding("u", *values)))) == {"errors": 1}


def test_a_response_that_lacks_an_acknowledged_value_is_counted_as_stale() -> None:
    history = [CREATED, done("add", "x"), done("add", "y")]
    verdict = judge(history, everywhere(a=holding("u", "x", "y")))
    assert found(verdict) == {}
    assert verdict.stale == 1


def test_the_ids_to_ask_for_are_all_that_were_used_or_given() -> None:
    history = [CREATED, undecided("add", "x"), done("login", "ann", "b")]
    history[1].sent_id = "a"
    assert ids_of(history) == ["a", "b"]
