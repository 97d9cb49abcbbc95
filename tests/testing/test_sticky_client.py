"""The client of a test's cluster goes where its cookie points, and on when nobody is there."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from clustersession.testing.sticky_client import StickyClient
from clustersession.tools.demo.processes import free_port


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer with the port and the cookies; /take/VALUE sets one, /drop deletes it."""
        body = f"{self.server.server_address[1]} {self.headers.get('Cookie', '')}".encode()
        self.send_response(200)
        if self.path.startswith("/take/"):
            self.send_header("Set-Cookie", f"sid={self.path[6:]}; Path=/; HttpOnly")
            self.send_header("Set-Cookie", "other=1; Path=/")
        if self.path == "/drop":
            self.send_header("Set-Cookie", 'sid=""; Max-Age=0; Path=/')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Answer with what was sent."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.headers["Content-Type"].encode() + b" " + body
        self.send_response(201)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def nodes() -> Iterator[dict[str, ThreadingHTTPServer]]:
    servers = {name: ThreadingHTTPServer(("127.0.0.1", 0), Handler) for name in ("a", "b")}
    threads = [threading.Thread(target=server.serve_forever) for server in servers.values()]
    for thread in threads:
        thread.start()
    yield servers
    for server in servers.values():
        server.shutdown()
        server.server_close()
    for thread in threads:
        thread.join()


def urls(nodes: dict[str, ThreadingHTTPServer]) -> dict[str, str]:
    return {name: f"http://127.0.0.1:{s.server_address[1]}" for name, s in nodes.items()}


def test_it_follows_the_route_in_its_cookie(nodes: dict[str, ThreadingHTTPServer]) -> None:
    client = StickyClient(urls(nodes))
    assert client.get("/take/x.b").route == "a", "the first, without a cookie"
    answer = client.get("/")
    assert answer.route == client.route == "b"
    assert answer.text.endswith(" sid=x.b; other=1")
    client.get("/take/x.unknown")
    assert client.get("/").route == "a"
    client.get("/drop")
    assert client.cookies == {"other": "1"}


def test_a_node_that_is_gone_is_passed_over(nodes: dict[str, ThreadingHTTPServer]) -> None:
    client = StickyClient({**urls(nodes), "b": f"http://127.0.0.1:{free_port()}"})
    client.get("/take/x.b")
    assert client.get("/").route == "a"
    with pytest.raises(ConnectionError, match="none of b answers"):
        StickyClient({"b": f"http://127.0.0.1:{free_port()}"}).get("/")


def test_it_posts_forms_and_json(nodes: dict[str, ThreadingHTTPServer]) -> None:
    client = StickyClient(urls(nodes))
    form = client.post("/", {"name": "a b"})
    assert form.status == form.status_code == 201
    assert form.text == "application/x-www-form-urlencoded name=a+b"
    sent = client.post("/", json={"a": 1})
    assert sent.text == 'application/json {"a": 1}'
