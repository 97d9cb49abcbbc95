"""An address is tried without saying anything there, and why it fails is told."""

import asyncio
import socket

from clustersession.net.reachability import why_unreachable


def test_where_somebody_accepts_there_is_nothing_to_say(run) -> None:
    heard: list[bytes] = []
    gone = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard.append(await reader.read())
        except ConnectionError:
            pass
        writer.close()
        gone.set()

    async def scenario() -> None:
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        assert await why_unreachable(*server.sockets[0].getsockname(), 5) == ""
        await gone.wait()
        server.close()

    run(scenario())
    assert heard in ([], [b""])


def test_who_refuses_and_who_does_not_answer_are_told_apart(run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        reason = run(why_unreachable(*taken.getsockname(), 5))
        assert reason
        assert "no answer" not in reason
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        assert run(why_unreachable(*address, 0.2)) == "no answer within 0.2 s"
        for one in waiting:
            one.close()
