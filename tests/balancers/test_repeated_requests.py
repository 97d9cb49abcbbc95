"""A server that dies with a request in hand: HAProxy repeats what may be repeated, no more."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from clustersession.tools.demo.balancers import COOKIE_NAME
from tests.support.apps import READY_PATH
from tests.support.balancers import haproxy_before

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]


@contextmanager
def server(name: str, dies: bool) -> Iterator[int]:
    """A server that is healthy, and answers with its name or hangs up on what it has accepted."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked = connection.recv(65536)
                if not dies or asked.startswith(f"GET {READY_PATH}".encode()):
                    head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(name)}\r\n\r\n"
                    connection.sendall((head + name).encode())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_haproxy_repeats_a_get_elsewhere_and_leaves_a_post(tmp_path: Path) -> None:
    with server("first", dies=True) as first, server("second", dies=False) as second:
        with haproxy_before([first, second], tmp_path) as balancer:
            assert ask(balancer.port, "GET") == (200, b"second")
            assert ask(balancer.port, "POST")[0] == 502
            assert ask(balancer.port, "PUT")[0] == 502


def ask(port: int, method: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request(method, "/", headers={"Cookie": f"{COOKIE_NAME}=x.tomcat1"})
        response = connection.getresponse()
        return response.status, response.read()
