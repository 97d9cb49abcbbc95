"""Ports are given to one process at a time, and not while something has them."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from clustersession.tools.demo import port_block
from clustersession.tools.demo.port_block import PortBlock, ProcessPorts
from clustersession.tools.demo.processes import free_port
from tests.support.processes import wait_for

ASK = "from clustersession.tools.demo.processes import free_port\nprint(free_port(), flush=True)\n"


def block_of(port: int) -> int:
    return (port - port_block._FIRST_PORT) // port_block._BLOCK_PORTS


def test_each_process_has_ports_of_its_own() -> None:
    command = [sys.executable, "-c", f"{ASK}input()"]
    with (
        subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as one,
        subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as other,
    ):
        assert one.stdout is not None
        assert other.stdout is not None
        ports = [free_port(), int(one.stdout.readline()), int(other.stdout.readline())]
        one.communicate("\n")
        other.communicate("\n")
    assert len({block_of(port) for port in ports}) == 3


def test_a_forked_process_has_ports_of_its_own() -> None:
    forking = f"{ASK}import os\nif not os.fork():\n    print(free_port(), flush=True)\n"
    asked = subprocess.run(
        [sys.executable, "-c", forking], capture_output=True, text=True, check=True
    )
    parent, child = map(int, asked.stdout.split())
    assert block_of(parent) != block_of(child)


def test_no_port_is_of_those_of_connections() -> None:
    low, high = map(int, port_block._OF_CONNECTIONS.read_text().split())
    assert not low <= free_port() <= high


def test_where_connections_take_every_port_there_are_blocks_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    everything = tmp_path / "range"
    everything.write_text("1024\t65535\n")
    monkeypatch.setattr(port_block, "_OF_CONNECTIONS", everything)
    assert port_block._blocks()


def test_those_that_follow_a_port_are_free_too_and_not_given_out_next() -> None:
    first, second = free_port(count=8), free_port(count=8)
    assert abs(second - first) >= 8
    for port in range(first, first + 8):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "127.0.0.2"])
def test_what_something_has_or_may_still_bind_is_passed_over(
    kind: socket.SocketKind, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = free_port(count=6)
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind((address, first + 1))
        block = PortBlock(range(first, first + 6))
        assert [block.take(kind, 2) for _ in range(3)] == [first + 2, first + 4, None]
        monkeypatch.setattr(port_block, "REST_S", 0.0)
        assert block.take(kind, 2) == first + 2


def test_who_has_used_up_a_block_has_another() -> None:
    ports = ProcessPorts()
    half = port_block._BLOCK_PORTS // 2 + 1
    first = ports.take(socket.SOCK_STREAM, half)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        assert block_of(ports.take(socket.SOCK_STREAM, half)) != block_of(first)


def test_a_block_is_free_again_after_its_process() -> None:
    asked = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    start = port_block._FIRST_PORT + block_of(int(asked.stdout)) * port_block._BLOCK_PORTS
    block = range(start, start + port_block._BLOCK_PORTS)
    # Another process may have it by now, and ends too.
    assert wait_for(lambda: port_block._claim(block), "the block to be free")


def test_where_nothing_can_be_claimed_the_kernel_chooses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(port_block, "_claim", lambda _: False)
    low, high = map(int, port_block._OF_CONNECTIONS.read_text().split())
    assert low <= ProcessPorts().take(socket.SOCK_STREAM, 8) <= high
