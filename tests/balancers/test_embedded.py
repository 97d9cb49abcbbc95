"""The demo's balancer: which node it chooses, and that it passes over a node that is gone."""

import http.client
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from clustersession.tools.demo.embedded_balancer import StickyBalancer
from tests.support.processes import Program, free_port

PORTS = {"tomcat1": 1, "tomcat2": 2, "tomcat3": 3}


def head(*lines: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", *lines, "", ""]).encode()


@pytest.mark.parametrize(
    "lines",
    [
        ["Cookie: S=abc.tomcat2"], ["cookie: other=1.tomcat1; S=abc.tomcat2; last=x"],
        ["Host: S=abc.tomcat1", "Cookie: S=abc.tomcat2"], ["Cookie: XS=a.tomcat1;S=abc.tomcat2"],
    ],
)
def test_the_cookie_names_the_node(lines: list[str]) -> None:
    balancer = StickyBalancer("S", PORTS)
    for _ in range(4):
        routes = balancer.candidates(head(*lines))
        assert routes[0] == "tomcat2"
        assert sorted(routes) == sorted(PORTS)


@pytest.mark.parametrize(
    "lines", [[], ["Cookie: S=abc.tomcat9"], ["Cookie: S=abc"], ["Cookie: S=a.b.tomcat1"]]
)
def test_without_a_known_route_the_nodes_take_turns(lines: list[str]) -> None:
    balancer = StickyBalancer("S", PORTS)
    first = [balancer.candidates(head(*lines))[0] for _ in range(6)]
    assert first == ["tomcat1", "tomcat2", "tomcat3"] * 2


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        port = self.server.server_address[1]
        answer = json.dumps({"port": port, "bytes": len(body)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Set-Cookie", "S=abc.tomcat1; Path=/")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def nodes() -> Iterator[list[ThreadingHTTPServer]]:
    with ExitStack() as stack:
        servers = []
        for _ in range(2):
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Echo))
            thread = Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            servers.append(server)
        yield servers


@pytest.fixture
def balancer_port(nodes: list[ThreadingHTTPServer], tmp_path: Path) -> Iterator[int]:
    port = free_port()
    ports = [f"tomcat{n}={node.server_address[1]}" for n, node in enumerate(nodes, 1)]
    program = Program(
        [sys.executable, "-m", "clustersession.tools.demo.embedded_balancer", str(port), "S",
         *ports, f"dead={free_port()}"],
        tmp_path / "log",
    )
    program.start()
    program.wait_until_listening(port)
    yield port
    program.stop()


def post(port: int, cookie: str, body: bytes = b"") -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/", body=body, headers={"Cookie": cookie})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


@pytest.mark.system
def test_requests_reach_their_node_with_their_body(
    nodes: list[ThreadingHTTPServer], balancer_port: int
) -> None:
    for number, node in enumerate(nodes, 1):
        response, content = post(balancer_port, f"S=abc.tomcat{number}", b"x" * 300_000)
        assert json.loads(content) == {"port": node.server_address[1], "bytes": 300_000}
        assert response.headers["Set-Cookie"] == "S=abc.tomcat1; Path=/"


@pytest.mark.system
def test_a_dead_node_is_passed_over(
    nodes: list[ThreadingHTTPServer], balancer_port: int
) -> None:
    for _ in range(4):
        response, content = post(balancer_port, "S=abc.dead")
        assert response.status == 200
        assert json.loads(content)["port"] in [node.server_address[1] for node in nodes]


@pytest.mark.system
def test_no_node_at_all_is_503(tmp_path: Path) -> None:
    port = free_port()
    program = Program(
        [sys.executable, "-m", "clustersession.tools.demo.embedded_balancer", str(port), "S",
         f"dead={free_port()}"], tmp_path / "log",
    )
    program.start()
    try:
        program.wait_until_listening(port)
        assert post(port, "S=a.dead")[0].status == 503
    finally:
        program.stop()
