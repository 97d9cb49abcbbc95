"""Links between hosts of a real network."""

import subprocess
import sys

import pytest

from tests.support.namespaces import network

END = [sys.executable, "-m", "tests.net.link_end"]


@pytest.mark.system
def test_a_pulled_cable_breaks_an_idle_link_on_both_sides() -> None:
    with network(2) as hosts:
        listen = [*END, "listen", hosts[0].address, "4000"]
        server = hosts[0].start(listen, stdout=subprocess.PIPE, text=True)
        assert server.stdout.readline() == "listening\n"
        dial = [*END, "dial", hosts[0].address, "4000"]
        client = hosts[1].start(dial, stdout=subprocess.PIPE, text=True)
        assert client.stdout.readline() == "open\n"
        assert server.stdout.readline() == "open\n"
        hosts[1].cut()
        for end in (server, client):
            # Ends when the process does, which is when its link was lost.
            output, _ = end.communicate(timeout=15)
            assert output.startswith("connection lost")
