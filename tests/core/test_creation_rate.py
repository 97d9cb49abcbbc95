"""How many sessions may begin in a second."""

from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.creation_rate import BURST_S, Allowance, after_one_more

NOW_MS = 1_800_000_000_000


def admitted(moments_ms: list[int], per_second_max: int) -> list[bool]:
    """Whether each of some sessions may begin."""
    kept: Allowance | None = None
    answers = []
    for now_ms in moments_ms:
        left = after_one_more(kept, per_second_max, now_ms)
        answers.append(left is not None)
        kept = left or kept
    return answers


def test_a_burst_of_ten_seconds_worth_may_begin_at_once_and_no_more() -> None:
    answers = admitted([NOW_MS] * 100, 3)
    assert answers == [True] * 3 * BURST_S + [False] * (100 - 3 * BURST_S)


def test_after_a_burst_as_many_begin_as_the_rate_allows() -> None:
    every_ms = [NOW_MS + ms for ms in range(60_000)]
    assert sum(admitted(every_ms, 5)) == 5 * (BURST_S + 60) - 1


@given(st.lists(st.integers(0, 2_000), max_size=300), st.integers(1, 20))
def test_never_more_than_the_burst_and_the_rate(gaps_ms: list[int], per_second_max: int) -> None:
    moments_ms = [NOW_MS + sum(gaps_ms[: n + 1]) for n in range(len(gaps_ms))]
    whole_s = (moments_ms[-1] - moments_ms[0]) / 1000 if moments_ms else 0
    assert sum(admitted(moments_ms, per_second_max)) <= per_second_max * (BURST_S + whole_s)


def test_a_moment_a_little_before_the_last_one_fills_nothing() -> None:
    answers = admitted([NOW_MS] * 10 + [NOW_MS - 2_000] * 10 + [NOW_MS] * 10, 1)
    assert sum(answers) == 10


def test_when_the_clock_was_set_back_nobody_waits_until_it_is_there_again() -> None:
    assert all(admitted([NOW_MS] * 10 + [NOW_MS - 3_600_000] * 10, 1))
