"""One thread, from the first request on, which neither outlives its manager nor keeps it."""

import gc
import logging
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from clustersession.core.errors import ReplicaError
from clustersession.worker.access_recorder import AccessRecorder
from tests.session.fakes import World
from tests.support.waiting import until

NAME = "clustersession-open-requests"


class TickingWorld(World):
    """A world whose clock goes by itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.manager.context.now_ms = self.manager.now_ms = lambda: time.time_ns() // 1_000_000
        self._of_others = set(threading.enumerate())

    def threads(self) -> list[threading.Thread]:
        """Those of recorders that began after this world: other tests may have left nodes."""
        return [t for t in set(threading.enumerate()) - self._of_others if t.name == NAME]


@pytest.fixture
async def world() -> AsyncIterator[TickingWorld]:
    made = TickingWorld(idle_timeout_s=0.5)
    threads = made.threads
    yield made
    del made
    gc.collect()
    await until(lambda: not threads())


async def test_it_starts_with_the_first_request_and_records(world: TickingWorld) -> None:
    recorder = AccessRecorder(world.manager)
    cookie = world.store(a=1)
    assert world.threads() == []
    visit = world.manager.open([cookie])
    world.manager.open_visits.add(visit)
    world.manager.open_visits.add(world.manager.open([]))
    assert len(world.threads()) == 1
    await until(lambda: world.manager.counters.touches > 12)
    assert not world.open([cookie]).new
    recorder.stop()
    recorder.stop()
    assert world.threads() == []


async def test_it_never_starts_after_its_end(world: TickingWorld) -> None:
    AccessRecorder(world.manager).stop()
    world.manager.open_visits.add(world.manager.open([]))
    await until(lambda: not world.threads())


async def test_it_goes_with_its_manager(world: TickingWorld) -> None:
    other = TickingWorld()
    AccessRecorder(other.manager)
    other.manager.open_visits.add(other.manager.open([]))
    assert world.threads()
    del other
    gc.collect()
    await until(lambda: not world.threads())


@pytest.mark.parametrize("error", [ReplicaError("the test says so"), RuntimeError("a defect")])
async def test_it_survives_trouble(
    world: TickingWorld, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = AccessRecorder(world.manager)
    raised = threading.Event()
    record = world.manager.open_visits.record_accesses

    def fail_once() -> None:
        if not raised.is_set():
            raised.set()
            raise error
        record()

    world.manager.open_visits.record_accesses = fail_once  # type: ignore[method-assign]
    visit = world.manager.open([world.store(a=1)])
    with caplog.at_level(logging.WARNING):
        world.manager.open_visits.add(visit)
        await until(lambda: world.manager.counters.touches)
    assert raised.is_set()
    assert bool(caplog.records) is isinstance(error, RuntimeError)
    recorder.stop()


async def test_where_no_thread_can_be_started_requests_are_served(
    world: TickingWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("thread is not supported for isolated subinterpreters")

    recorder = AccessRecorder(world.manager)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        for _ in range(2):
            world.manager.open_visits.add(world.manager.open([]))
        assert caplog.text.count("not supported") == 1
        recorder.stop()
        assert world.threads() == []
    recorder = AccessRecorder(world.manager)
    world.manager.open_visits.add(world.manager.open([]))
    assert len(world.threads()) == 1, "the next request tries again"
    recorder.stop()
