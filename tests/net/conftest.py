"""Runs a test's coroutine under both event loops and lets no noise pass."""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from clustersession.net.tls import TlsContexts, tls_contexts
from clustersession.wire.keys import ClusterKeys

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Run:
    """Run a coroutine to its end; fails when the event loop had anything to complain about."""
    factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[request.param]

    def run_quietly(coroutine: Coroutine[Any, Any, Any]) -> Any:
        complaints: list[dict[str, Any]] = []

        async def watched() -> Any:
            asyncio.get_running_loop().set_exception_handler(
                lambda loop, context: complaints.append(context)
            )
            async with asyncio.timeout(20):
                return await coroutine

        with asyncio.Runner(loop_factory=factory) as runner:
            result = runner.run(watched())
        # What was forgotten shows when it is collected.
        gc.collect()
        assert complaints == []
        loud = [r for r in caplog.records if r.name == "asyncio" and r.levelno >= logging.WARNING]
        assert loud == []
        return result

    return run_quietly


@pytest.fixture(scope="session")
def tls() -> TlsContexts:
    """What nodes of one cluster use."""
    return tls_contexts(ClusterKeys.derive(["the secret"], "shop"))


@pytest.fixture(scope="session")
def tls_of_stranger() -> TlsContexts:
    """What a node with another secret uses."""
    return tls_contexts(ClusterKeys.derive(["another secret"], "shop"))


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Wait for a condition, with a deadline."""

    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(8):
            while not condition():  # noqa: ASYNC110 - conditions of any kind, from sockets mostly
                await asyncio.sleep(0.005)

    return wait
