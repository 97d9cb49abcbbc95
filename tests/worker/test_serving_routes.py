"""What a worker knows of who serves: the agent's note, looked at now and then."""

import pytest

from clustersession.core.errors import ReplicaError
from clustersession.core.serving_view import VIEW_NOTE, View
from clustersession.replica.opening import open_memory
from clustersession.worker import serving_routes
from clustersession.worker.serving_routes import FRESH_S, ServingRoutes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [100.0]
    monkeypatch.setattr(serving_routes.time, "monotonic", lambda: now_s[0])
    return now_s


def test_the_note_is_read_again_when_it_is_due(clock: list[float]) -> None:
    replica = open_memory(b"our node", clock_skew_ms_max=1000)
    routes = ServingRoutes("a", replica)
    assert routes.get() == {"a"}
    replica.save_note(VIEW_NOTE, View(frozenset({"a", "b"}), draining=False).encode())
    assert routes.get() == {"a"}, "not at every request"
    clock[0] += FRESH_S
    assert routes.get() == {"a", "b"}
    replica.save_note(VIEW_NOTE, View(frozenset({"a", "b"}), draining=True).encode())
    clock[0] += FRESH_S
    assert routes.get() == {"b"}


def test_what_cannot_be_read_leaves_what_was_known(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = open_memory(b"our node", clock_skew_ms_max=1000)
    replica.save_note(VIEW_NOTE, View(frozenset({"b"}), draining=False).encode())
    routes = ServingRoutes("a", replica)
    assert routes.get() == {"a", "b"}

    def fail(name: str) -> bytes:
        raise ReplicaError("the test says so")

    monkeypatch.setattr(replica, "load_note", fail)
    clock[0] += FRESH_S
    assert routes.get() == {"a", "b"}
