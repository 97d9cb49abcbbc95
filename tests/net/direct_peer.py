"""An agent's side of direct changes, that answers as it is told."""

import socket
import threading
from collections.abc import Callable
from types import TracebackType

from clustersession.core.identity import Address
from clustersession.wire.envelope import Opened, Opener, Sealer
from clustersession.wire.keys import ClusterKeys
from clustersession.wire.messages import DirectAnswer, DirectChange, decode_message, encode_message

NAME = "test"
KEYS = ClusterKeys.derive(["a secret of tests alone"], NAME)

Reply = Callable[[bytes, DirectChange], list[DirectAnswer]]


def take(asker: bytes, change: DirectChange) -> list[DirectAnswer]:
    """Hold whatever comes."""
    return [DirectAnswer(asker, change.number, True)]


class PeerThread:
    """Answers on a thread. asked: every change that came, with who sent it."""

    def __init__(self, reply: Reply = take, keys: ClusterKeys = KEYS) -> None:
        self.reply = reply
        self.asked: list[tuple[bytes, DirectChange]] = []
        self.sealed: list[bytes] = []
        self._opener, self._sealer = Opener(KEYS, NAME), Sealer(keys, NAME, b"an agent", 1)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = Address(*self._socket.getsockname())
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "PeerThread":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self.address)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while True:
            data, source = self._socket.recvfrom(2048)
            if not data:
                return
            opened = self._opener.open(data)
            if not isinstance(opened, Opened):
                continue
            change = decode_message(opened.payload)
            assert isinstance(change, DirectChange)
            self.asked.append((opened.sender, change))
            for answer in self.reply(opened.sender, change):
                self.sealed.append(self._sealer.seal(encode_message(answer)))
                self._socket.sendto(self.sealed[-1], source)
