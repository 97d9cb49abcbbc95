"""What a worker's writes took is told with those that nobody confirmed."""

from benchmarks.beside import Taken


def test_what_nobody_confirmed_is_told() -> None:
    taken = Taken([1.0, 3.0, 2.0], [0.1, 0.3, 0.2], 1)
    assert taken.figures() == [2.0, 3.0, 3.0, 0.2, 0.3, 0.3, 1]
