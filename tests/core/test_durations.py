"""Durations are counted in buckets that only grow."""

from clustersession.core.counters import Counters
from clustersession.core.durations import BOUNDS_US, Durations, bucket_names


def test_a_duration_is_in_the_first_bucket_that_holds_it() -> None:
    durations = Durations()
    for took_us in (0, 99, 100, 101, 2_500_000, 2_500_001):
        durations.add(took_us * 1000)
    assert durations.counts[0] == 3
    assert durations.counts[1] == 1
    assert durations.counts[-2:] == [1, 1]
    assert durations.sum_us == 5_000_301


def test_what_is_told_names_its_bounds() -> None:
    durations = Durations()
    durations.add(600_000)
    told = dict(durations.told("fetch"))
    assert told.keys() == {"fetch_us", *bucket_names("fetch")}
    assert len(told) == len(BOUNDS_US) + 2
    assert {name for name, count in told.items() if count} == {"fetch_us", "fetch_us_1000"}


def test_all_counts_are_told_as_numbers() -> None:
    counters = Counters(commits=2, ended_limit=1)
    counters.confirm.add(5)
    told = counters.told()
    assert (told["commits"], told["ended_limit"], told["confirm_us_100"]) == (2, 1, 1)
    assert set(map(type, told.values())) == {int}
