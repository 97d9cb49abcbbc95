"""What a user's clicks find wrong fails the test, in its own words."""

import threading
from collections.abc import Iterator
from typing import cast

import pytest

from clustersession.tools.demo.nodes import Node
from tests.system import stored_nodes
from tests.system.client import Reply
from tests.system.stored_nodes import Clicks

WAIT_S = 5.0


class Web1:
    route = "web1"


def clicks_answered_by(monkeypatch: pytest.MonkeyPatch, counts: Iterator[int]) -> Clicks:
    def answer(*_: object) -> Reply:
        count = next(counts, None)
        if count is None:
            raise ConnectionRefusedError("nobody is there")
        return Reply(200, {"count": count}, None, None)

    monkeypatch.setattr(stored_nodes, "post", answer)
    return Clicks(cast(Node, Web1()), "cookie")


def four_and_then(event: threading.Event, *counts: int) -> Iterator[int]:
    yield from range(1, 5)
    event.wait(WAIT_S)
    yield from counts


@pytest.mark.parametrize(("counts", "said"), [
    ((5, 1000), "web1 counts 1000 clicks, its user 6"), ((5,), "nobody is there"),
])
def test_what_is_wrong_is_raised_where_somebody_waits(
    counts: tuple[int, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = threading.Event()
    user = clicks_answered_by(monkeypatch, four_and_then(event, *counts)).__enter__()
    event.set()
    with pytest.raises((AssertionError, ConnectionRefusedError), match=said):
        user.go_on()
    user._thread.join(WAIT_S)
    assert not user._thread.is_alive()


def test_what_is_wrong_at_once_is_raised_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    user = clicks_answered_by(monkeypatch, iter([1, 1]))
    with pytest.raises(AssertionError, match="web1 counts 1 clicks, its user 2"):
        user.__enter__()
    assert not user._thread.is_alive()


def test_what_nobody_waited_for_is_raised_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    event = threading.Event()
    user = clicks_answered_by(monkeypatch, four_and_then(event, 7)).__enter__()
    event.set()
    user._thread.join(WAIT_S)
    with pytest.raises(AssertionError, match="web1 counts 7 clicks, its user 5"):
        user.__exit__(None, None, None)


def test_the_test_s_own_failure_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    event = threading.Event()
    user = clicks_answered_by(monkeypatch, four_and_then(event, 7)).__enter__()
    event.set()
    user._thread.join(WAIT_S)
    user.__exit__(KeyError, KeyError(), None)  # and raises nothing else
