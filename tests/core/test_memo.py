"""The memory of answers stays within its bound and never tells anything else."""

from clustersession.core.memo import Memo


def test_what_is_asked_for_stays_and_the_rest_goes() -> None:
    memo: Memo[int, str] = Memo(10)
    memo.put(-1, "kept")
    for number in range(1000):
        memo.put(number, str(number))
        assert memo.get(-1) == "kept"
    known = [number for number in range(1000) if memo.get(number) is not None]
    assert known
    assert len(known) <= 10
    assert all(memo.get(number) in (None, str(number)) for number in range(1000))
