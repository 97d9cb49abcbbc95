"""What a balancer is told of a node; its answers to real requests are in tests/adapters."""

import logging
from typing import Any, cast

import pytest

from clustersession.core.errors import ReplicaUnusable
from clustersession.requests import readiness as module
from clustersession.requests.readiness import readiness, readiness_async
from clustersession.worker.agent_client import NO_AGENT, READY
from clustersession.worker.runtime import Runtime


class Node:
    """Stands for a runtime in some phase."""

    def __init__(self, phase: str | Exception) -> None:
        self._phase = phase

    def phase(self) -> str:
        if isinstance(self._phase, Exception):
            raise self._phase
        return self._phase

    async def phase_async(self) -> str:
        return self.phase()


def node(phase: str | Exception) -> Runtime:
    return cast(Runtime, cast(Any, Node(phase)))


@pytest.mark.parametrize(("phase", "status"), [
    (READY, 200), ("joining", 503), ("draining", 503), ("leaving", 503), (NO_AGENT, 503),
    ("of_a_later_version", 503),
])
async def test_users_come_to_a_node_that_is_ready_and_to_no_other(phase: str, status: int) -> None:
    answer = readiness(node(phase))
    assert answer.status == status
    assert answer == await readiness_async(node(phase))
    headers = dict(answer.headers)
    assert headers["Content-Length"] == str(len(answer.body))
    assert headers["Cache-Control"] == "no-store"
    assert answer.status_line.startswith(str(status))


def test_a_stranger_is_not_told_what_the_log_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(module, "_said", [])
    for path in ("/secret/place", "/secret/place", "/other/place"):
        answer = readiness(node(ReplicaUnusable(f"{path} belongs to another user")))
        assert answer.status == 503
        assert path not in answer.text
    assert len(caplog.records) == 2, "each reason once, though checks come several times a second"
