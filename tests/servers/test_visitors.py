"""Visitors notice what they are there to notice."""

import json

import pytest

from clustersession.tools.demo.processes import StepFailed
from tests.servers import visitors
from tests.servers.visitors import Visitor

Answer = tuple[int, str | None]


def visit_all(monkeypatch: pytest.MonkeyPatch, *answers: Answer | OSError) -> Visitor:
    """A visitor who got these counts and cookies, or errors."""
    script = iter(answers)

    def request(*_: object) -> tuple[int, str, str | None]:
        answer = next(script)
        if isinstance(answer, OSError):
            raise answer
        return 200, json.dumps({"count": answer[0], "pid": 1}), answer[1]

    monkeypatch.setattr(visitors, "request", request)
    visitor = Visitor(1)
    for _ in answers:
        visitor.visit()
    return visitor


@pytest.mark.parametrize(
    "answers",
    [
        [(1, "a"), (2, None), (2, None)],
        [(1, "a"), (2, None), (1, None)],
        [(1, "a"), (3, None)],
        [(1, "a"), (2, "b")],
        [(1, "a"), OSError(), (4, None)],
        [OSError(), (2, "a")],
    ],
    ids=["lost-write", "new-session", "jump", "new-cookie", "too-far", "stranger"],
)
def test_what_is_wrong_is_noticed(
    monkeypatch: pytest.MonkeyPatch, answers: list[Answer | OSError]
) -> None:
    with pytest.raises(StepFailed):
        visit_all(monkeypatch, *answers)


def test_a_request_without_an_answer_may_count_at_once_or_late_or_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for last in (4, 5):
        visitor = visit_all(
            monkeypatch, (1, "a"), ConnectionResetError(), (2, None), (3, None), (last, None)
        )
        assert visitor.count == last
        assert visitor.errors == {"cut": 1}
