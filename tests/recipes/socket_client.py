"""A client of Socket.IO that polls: as much of the protocol as recipes need."""

import json
from itertools import count
from typing import Any

from tests.recipes.stand import Browser

RECORD_SEPARATOR = "\x1e"
POLLS_MAX = 20


class SocketClient:
    """A socket of a browser, on the node that the browser's requests go to.

    Engine.IO 4 over long polling: https://socket.io/docs/v4/engine-io-protocol/. Nothing is kept
    of what the server says besides what is asked for.
    """

    def __init__(self, browser: Browser, path: str = "/socket.io/", **query: str) -> None:
        self._browser, self._path = browser, path
        self._node = browser.node
        self._query = {"EIO": "4", "transport": "polling", **query}
        self._numbers = count(1)
        opening = self._poll()[0]
        assert opening.startswith("0"), opening
        self._query["sid"] = json.loads(opening[1:])["sid"]
        self._send("40")
        self._wait_for("40")

    def emit(self, event: str, *data: Any) -> None:
        """Send an event."""
        self._send("42" + json.dumps([event, *data]))

    def call(self, event: str, *data: Any) -> Any:
        """Send an event and return what its handler returned."""
        number = next(self._numbers)
        self._send(f"42{number}" + json.dumps([event, *data]))
        found: list[Any] = json.loads(self._wait_for(f"43{number}"))
        return found[0] if found else None

    def _wait_for(self, beginning: str) -> str:
        for _ in range(POLLS_MAX):
            for packet in self._poll():
                if packet == "2":
                    self._send("3")
                elif packet.startswith(beginning):
                    return packet.removeprefix(beginning)
        raise AssertionError(f"no packet {beginning} came")

    def _poll(self) -> list[str]:
        reply = self._browser.get(self._path, on=self._node, params=self._query)
        assert reply.status_code == 200, reply.text
        return reply.text.split(RECORD_SEPARATOR)

    def _send(self, packet: str) -> None:
        reply = self._browser.post(
            self._path, on=self._node, params=self._query, content=packet.encode()
        )
        assert reply.text == "OK", reply.text
