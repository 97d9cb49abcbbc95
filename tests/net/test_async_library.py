"""One place knows whether asyncio or trio runs, and what has to wait is never half done."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio
import trio.testing

from clustersession.net import async_library
from clustersession.net.async_library import in_thread, in_trio, pause, run_beside, run_to_end

RUNNERS: dict[str, Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]] = {
    "asyncio": lambda work: asyncio.run(work()),
    "trio": trio.run,
}


def test_a_task_of_trios_is_told_from_everything_else() -> None:
    async def told() -> tuple[bool, bool]:
        return in_trio(), await trio.to_thread.run_sync(in_trio)

    async def told_in_asyncio() -> bool:
        return in_trio()

    assert trio.run(told) == (True, False)
    assert asyncio.run(told_in_asyncio()) is False
    assert in_trio() is False


def test_so_it_is_where_the_one_runs_inside_the_other() -> None:
    """As with a graphical interface: asyncio drives trio, and both see a loop."""
    async def host() -> tuple[bool, bool]:
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def guest() -> bool:
            await trio.lowlevel.checkpoint()
            return in_trio()

        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=asyncio.get_running_loop().call_soon_threadsafe,
            done_callback=lambda outcome: done.set_result(outcome.unwrap()),
        )
        return await done, in_trio()

    assert asyncio.run(host()) == (True, False)


def test_a_module_that_is_just_being_imported_is_not_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(async_library.sys.modules, "trio.lowlevel", object())
    assert in_trio() is False


@pytest.mark.parametrize("name", RUNNERS)
def test_a_pause_lets_others_run(name: str) -> None:
    async def work() -> float:
        began_s = time.monotonic()
        await pause(0.02)
        return time.monotonic() - began_s

    assert RUNNERS[name](work) >= 0.019


def test_what_has_begun_in_a_cancelled_task_is_done_to_its_end() -> None:
    done: list[str] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            done.append(await in_thread(lambda: "answered"))
            await trio.sleep(10)
            done.append("not cancelled")

    trio.run(main)
    assert done == ["answered"]


def test_others_run_meanwhile_and_threads_of_the_application_do_not_matter() -> None:
    release = threading.Event()

    async def main() -> str:
        async with trio.open_nursery() as nursery:
            limiter = trio.to_thread.current_default_thread_limiter()
            limiter.total_tokens = 1
            nursery.start_soon(trio.to_thread.run_sync, release.wait)
            await trio.testing.wait_all_tasks_blocked()
            answer = await in_thread(lambda: "answered")
            release.set()
        return answer

    assert trio.run(main) == "answered"


def test_at_most_so_many_threads_in_each_run() -> None:
    running, most = 0, 0
    lock, pair = threading.Lock(), threading.Barrier(2)

    def count() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        pair.wait(10)
        with lock:
            running -= 1

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(in_thread, count)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(async_library, "THREADS_MAX", 3)
        for _ in range(2):
            trio.run(main)
    assert 2 <= most <= 3


def test_nobody_waits_for_what_runs_beside() -> None:
    seen: list[str] = []

    async def main() -> None:
        async def later() -> None:
            await trio.lowlevel.checkpoint()
            seen.append("beside")

        run_beside(later)
        seen.append("first")
        await trio.testing.wait_all_tasks_blocked()

    trio.run(main)
    assert seen == ["first", "beside"]


@pytest.mark.parametrize("name", RUNNERS)
def test_a_coroutine_is_run_to_its_end_by_the_library_of_the_application(name: str) -> None:
    seen: list[bool] = []

    async def work() -> None:
        await pause(0)
        seen.append(in_trio())

    run_to_end(work, by_trio=name == "trio")
    assert seen == [name == "trio"]
