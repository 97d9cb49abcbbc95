"""Users who notice what an outage does: each knows who it is and how far it has counted."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

STEPS = ("/add", "/read", "/read")


@dataclass
class Losses:
    """What users of one kind of session have seen.

    failed: requests answered with 5xx, not at all, or not within the patience of a client.
    logins: how often a user who was logged in was answered as a guest, or as another. sessions:
    users whose first session is gone. counts: writes that were acknowledged and are gone.
    """

    requests: int = 0
    failed: int = 0
    slowest_s: float = 0.0
    logins: int = 0
    counts: int = 0
    sessions: int = 0


@dataclass
class User:
    """One browser, which goes to one server.

    login: as whom it is logged in; empty while it is not. added: the writes it was told of.
    """

    name: str
    port: int
    losses: Losses
    patience_s: float
    login: str = ""
    added: int = 0
    cookies: dict[str, str] = field(default_factory=dict)
    _logins: int = 0

    async def log_in(self) -> bool:
        """Begin a session; False when the server could not."""
        self._logins += 1
        name = f"{self.name}-{self._logins}"
        if await self._ask(f"/login?{name}") is None:
            return False
        self.login = name
        return True

    async def use(self, pause_s: float, until_s: float) -> None:
        """Write and read, and log in again whenever the session is gone."""
        number = 0
        while time.monotonic() < until_s:
            next_s = time.monotonic() + pause_s
            await self.step(STEPS[number % len(STEPS)])
            number += 1
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))

    async def step(self, path: str) -> None:
        """One request."""
        if not self.login:
            await self.log_in()
            return
        answer = await self._ask(path)
        if answer is None:
            return
        if answer["user"] != self.login:
            self.losses.logins += 1
            self.login = ""
        elif path == "/add":
            self.added += 1

    async def look_back(self) -> None:
        """See what is left when all is over."""
        answer = await self._ask("/read", counts=False)
        mine = answer is not None and answer["user"] == self.login != ""
        count = answer["count"] if answer is not None and mine else 0
        self.losses.sessions += not mine or self._logins > 1
        self.losses.counts += max(0, self.added - count)

    async def _ask(self, path: str, *, counts: bool = True) -> dict[str, Any] | None:
        losses = self.losses
        losses.requests += counts
        began_s = time.monotonic()
        try:
            status, body = await asyncio.wait_for(self._exchange(path), self.patience_s)
        except (OSError, TimeoutError, ValueError, EOFError):
            status, body = 0, b""
        if counts:
            losses.slowest_s = max(losses.slowest_s, time.monotonic() - began_s)
            losses.failed += status != 200
        found: dict[str, Any] | None = json.loads(body) if status == 200 else None
        return found

    async def _exchange(self, path: str) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            # By 1.0 no server sends the answer in chunks.
            writer.write(
                f"GET {path} HTTP/1.0\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n".encode()
            )
            head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        finally:
            writer.close()
        lines = head.decode("latin-1").split("\r\n")
        for line in lines[1:]:
            name, _, value = line.partition(":")
            if name.lower() == "set-cookie":
                self._keep(value.strip())
        return int(lines[0].split()[1]), body

    def _keep(self, cookie: str) -> None:
        pair, _, attributes = cookie.partition(";")
        name, _, value = pair.partition("=")
        gone = "max-age=0" in attributes.lower().replace(" ", "") or not value.strip('"')
        if gone:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value


async def all_log_in(users: Sequence[User]) -> None:
    """Raises RuntimeError unless everybody is in."""
    for user in users:
        if not await user.log_in():
            raise RuntimeError(f"{user.name} could not log in while nothing was wrong")
