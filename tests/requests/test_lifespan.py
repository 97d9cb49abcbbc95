"""The lifespan protocol: a node joins before the server serves, and leaves after it."""

import pytest

from clustersession.core.errors import ReplicaUnusable
from clustersession.requests.lifespan import Message, answer_lifespan, joined


class Server:
    """Sends what it is to send, and keeps in order what is said and done."""

    def __init__(self, *kinds: str) -> None:
        self.kinds = list(kinds)
        self.seen: list[str] = []

    async def receive(self) -> Message:
        return {"type": f"lifespan.{self.kinds.pop(0)}"}

    async def send(self, message: Message) -> None:
        self.seen.append(message["type"] + message.get("message", ""))

    def start(self) -> None:
        self.seen.append("start")

    def close(self) -> None:
        self.seen.append("close")


async def test_the_node_is_there_for_as_long_as_the_server_serves() -> None:
    server = Server("startup", "shutdown")
    async with joined(server.start, server.close, server.receive, server.send):
        await answer_lifespan(server.receive, server.send)
    assert server.seen == [
        "start", "lifespan.startup.complete", "lifespan.shutdown.complete", "close",
    ]


async def test_a_node_that_cannot_work_ends_the_server_with_the_reason() -> None:
    def fail() -> None:
        raise ReplicaUnusable("set state_dir")

    server = Server("startup")
    with pytest.raises(ReplicaUnusable):
        async with joined(fail, server.close, server.receive, server.send):
            await answer_lifespan(server.receive, server.send)
    assert server.seen == ["lifespan.startup.failedclustersession: set state_dir"]
    assert not server.kinds


async def test_the_node_leaves_when_the_application_fails() -> None:
    server = Server()
    with pytest.raises(ZeroDivisionError):
        async with joined(server.start, server.close, server.receive, server.send):
            raise ZeroDivisionError
    assert server.seen == ["start", "close"]
