"""An agent of a few lines."""

import threading
from contextlib import suppress
from pathlib import Path

from clustersession.net.unix import listen_unix
from clustersession.wire.frames import FrameDecoder, encode_frame
from clustersession.wire.local import decode_request, encode_answer


class EchoAgent:
    """Answers every request with its argument, on a thread; closes after ``limit`` requests."""

    def __init__(self, path: Path, limit: int = 1000) -> None:
        self.sock = listen_unix(path)
        self.sock.setblocking(True)
        self.limit = limit
        self.threads = [threading.Thread(target=self._serve, daemon=True)]
        self.threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.sock.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._answer, args=(connection,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _answer(self, connection: object) -> None:
        decoder = FrameDecoder(2**20)
        answered = 0
        with connection, suppress(BrokenPipeError, ConnectionResetError):
            while data := connection.recv(65536):
                for payload in decoder.receive(data):
                    if answered == self.limit:
                        return
                    request = decode_request(payload)
                    connection.sendall(encode_frame(encode_answer(0, ["info", "an event"])))
                    if request.token:
                        answer = encode_answer(request.token, request.argument)
                        connection.sendall(encode_frame(answer))
                    answered += 1

    def close(self) -> None:
        self.sock.shutdown(2)
        self.sock.close()
        for thread in self.threads:
            thread.join(5)
