"""A consumer that logs in over HTTP, and a websocket that writes into the session."""

import asyncio
import json
from typing import Any

from channels.auth import login
from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth import aauthenticate


class LogIn(AsyncHttpConsumer):
    """Logs the user in whose name and password come in the body."""

    async def handle(self, body: bytes) -> None:
        user = await aauthenticate(**json.loads(body))
        await login(self.scope, user)
        await self.send_response(200, b"in")


class Socket(AsyncJsonWebsocketConsumer):
    """Answers each message with what the session has; a message with a value is kept in it."""

    watching: asyncio.Task[None] | None = None

    async def tell(self) -> None:
        async for change in self.scope["session"].clustered.watch():
            await self.send_json({"changed": sorted(change.names), "ended": change.ended})

    async def disconnect(self, code: int) -> None:
        if self.watching is not None:
            self.watching.cancel()

    async def receive_json(self, content: Any, **_: Any) -> None:
        session = self.scope["session"]
        if "save" in content:
            await session.aset("said", [*await session.aget("said", []), content["save"]])
            await session.asave()
        elif "login" in content:
            user = await aauthenticate(**content["login"])
            await login(self.scope, user)
            await session.asave()
        elif "watch" in content:
            self.watching = asyncio.create_task(self.tell())
        await self.send_json({
            "user": self.scope["user"].get_username(),
            "said": await session.aget("said", []),
            "mark": await session.aget("mark"),
        })
