"""Keeps the node's files from cleaners of old files, and puts back what they took."""

import asyncio
import os
from collections.abc import Awaitable, Callable

from clustersession.agent.event_log import EventLog
from clustersession.core.errors import ReplicaUnusable
from clustersession.replica.home import NodeHome, keep_files
from clustersession.replica.private_directory import private_opener

LOOK_INTERVAL_S = 5.0
TOUCH_LOOKS = 12
"""Files are touched at every that many looks."""


class FileKeeper:
    """Looks after the files of a node that this process is the agent of.

    ``listen`` makes the agent's socket anew; connections that are there stay. looks: how many
    there were.
    """

    def __init__(
        self, home: NodeHome, event_log: EventLog, listen: Callable[[], Awaitable[None]]
    ) -> None:
        self._home = home
        self._event_log = event_log
        self._listen = listen
        self.looks = 0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            try:
                await self.look()
            except OSError as error:
                self._tell(f"files of {self._home.directory} cannot be kept: {error}")

    async def look(self) -> None:
        """Look once. Raises OSError when the socket cannot be made anew."""
        touches = self.looks % TOUCH_LOOKS == 0
        self.looks += 1
        if not self._home.agent_lock.exists():
            write_pid(self._home)
        if not self._home.agent_socket.exists():
            self._tell(
                f"{self._home.agent_socket} was removed, by a cleaner of old files perhaps, and is "
                "made again; set state_dir to where nothing is removed"
            )
            await self._listen()
        if touches:
            try:
                keep_files(self._home)
            except ReplicaUnusable as error:
                self._tell(str(error))

    def _tell(self, text: str) -> None:
        self._event_log.seldom("error", "files_removed", text)


def write_pid(home: NodeHome) -> None:
    """Leave the agent's process id for people and programs."""
    with open(home.agent_lock, "w", opener=private_opener) as file:
        file.write(f"{os.getpid()}\n")
