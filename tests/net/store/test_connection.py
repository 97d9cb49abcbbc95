"""One connection: answers find those who asked, also when somebody has given up waiting."""

import asyncio

import pytest

from clustersession.core.errors import StoreError
from clustersession.net.store.connection import StoreConnection, StoreLimits
from clustersession.net.store.resp import command
from clustersession.settings.store_url import StoreAddress
from tests.net.store.owner import eventually
from tests.store.servers import Server


async def opened(server: Server, reasons: list[StoreError], **limits: float) -> StoreConnection:
    connection = StoreConnection(
        StoreAddress((str(server.socket), 0)), StoreLimits(**limits),  # type: ignore[arg-type]
        lambda parts: None, reasons.append, tls=False,
    )  # fmt: skip
    await connection.connect(None)
    return connection


async def test_who_gives_up_waiting_disturbs_nobody(empty: Server) -> None:
    reasons: list[StoreError] = []
    connection = await opened(empty, reasons)
    slow = asyncio.create_task(waited(connection, command("BLPOP", "none", "0.2")))
    await asyncio.sleep(0)
    slow.cancel()
    assert await connection.ask([command("ECHO", "mine"), command("ECHO", "also")]) == [
        b"mine", b"also",
    ]  # fmt: skip
    with pytest.raises(asyncio.CancelledError):
        await slow
    connection.abort(StoreError("done"))
    await connection.closed()
    assert [str(reason) for reason in reasons] == ["done"]


async def waited(connection: StoreConnection, data: bytes) -> None:
    await connection.ask([data])


async def test_all_who_wait_hear_of_the_end_and_so_do_those_who_come_later(server: Server) -> None:
    reasons: list[StoreError] = []
    connection = await opened(server, reasons)
    waiting = [connection.ask([command("BLPOP", "none", "0")]) for _ in range(3)]
    server.kill()
    await eventually(lambda: reasons)
    for future in [*waiting, connection.ask([command("PING")])]:
        with pytest.raises(StoreError, match="closed the connection"):
            await future
    assert len(reasons) == 1


async def test_an_answer_that_takes_too_long_in_all_is_given_up(server: Server) -> None:
    """However much the server says meanwhile."""
    reasons: list[StoreError] = []
    connection = await opened(server, reasons, silence_timeout_s=0.05)
    server.pause()
    connection.ask([command("PING")])
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    async with asyncio.timeout(20):
        while not reasons:
            connection.take(b">1\r\n+x\r\n")
            await asyncio.sleep(0.01)
    server.go_on()
    assert loop.time() - began_s > 0.4
    await connection.closed()


async def test_answers_that_nobody_asked_for_end_it(empty: Server) -> None:
    reasons: list[StoreError] = []
    connection = await opened(empty, reasons)
    connection.take(b":1\r\n")
    assert "nobody asked" in str(reasons[0])
    await connection.closed()
