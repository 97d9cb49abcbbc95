"""When a worker leaves peers in peace."""

from clustersession.worker.direct_rest import (
    MISSES_MAX,
    REFUSALS_MAX,
    REST_S_MAX,
    REST_S_MIN,
    SHORT_REST_S,
    DirectRest,
)


def test_a_few_misses_in_a_row_are_borne() -> None:
    rest = DirectRest()
    for _ in range(10):
        for _ in range(MISSES_MAX - 1):
            rest.missed(0.0)
        assert not rest.is_resting(0.0)
        rest.held()


def test_more_are_a_reason_to_rest_longer_each_time() -> None:
    rest, now_s, rests = DirectRest(), 0.0, []
    for _ in range(MISSES_MAX - 1):
        rest.missed(now_s)
    for _ in range(10):
        rest.missed(now_s)
        began_s = now_s
        while rest.is_resting(now_s):
            now_s += 0.5
        rests.append(now_s - began_s)
    assert rests[:3] == [REST_S_MIN, 2 * REST_S_MIN, 4 * REST_S_MIN]
    assert rests[-1] == REST_S_MAX
    rest.held()
    rest.missed(now_s)
    assert not rest.is_resting(now_s)


def test_who_has_answered_before_is_busy_and_asked_again_soon() -> None:
    rest = DirectRest()
    rest.held()
    for _ in range(MISSES_MAX):
        rest.missed(0.0)
    assert rest.is_resting(0.0)
    assert not rest.is_resting(SHORT_REST_S)
    rest.missed(SHORT_REST_S)
    assert rest.is_resting(2 * SHORT_REST_S), "it has not answered since"


def test_refusals_in_a_row_are_a_reason_for_a_short_rest() -> None:
    rest = DirectRest()
    for _ in range(REFUSALS_MAX - 1):
        rest.missed(0.0)
        rest.refused(0.0)
    assert not rest.is_resting(0.0)
    rest.refused(0.0)
    assert rest.is_resting(0.0)
    assert not rest.is_resting(SHORT_REST_S)
