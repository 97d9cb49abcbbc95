"""Multicast: every node of a host and of a network hears every other, and only its own group."""

import asyncio
import errno
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from clustersession.core.errors import ConfigurationError
from clustersession.net.multicast import MulticastChannel
from clustersession.tools.demo.processes import StepFailed
from clustersession.tools.demo.processes import wait_for as wait_until
from tests.support.namespaces import Host, network

GROUP = "228.0.0.4"
OTHER_GROUP = "228.0.0.5"


@pytest.fixture
def port() -> int:
    """A port that nobody uses, so that runs side by side do not meet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ignore(*args: object) -> None:
    pass


def collector(group: str, port: int, **options):
    received: list[tuple[bytes, tuple[str, int]]] = []
    channel = MulticastChannel(
        group, port, 1, "127.0.0.1",
        lambda data, source: received.append((data, source)), **options
    )
    return channel, received


def test_nodes_of_one_host_hear_each_other_and_themselves(run, until, port) -> None:
    async def scenario() -> None:
        nodes = [collector(GROUP, port) for _ in range(3)]
        for channel, _ in nodes:
            await channel.start()
        for number, (channel, _) in enumerate(nodes):
            channel.send(b"from %d" % number)
        expected = {(b"from %d" % n, channel.source) for n, (channel, _) in enumerate(nodes)}
        await until(lambda: all(len(received) == 3 for _, received in nodes))
        assert all(set(received) == expected for _, received in nodes)
        assert all((c.sent, c.received, c.send_failures) == (1, 3, 0) for c, _ in nodes)
        for channel, _ in nodes:
            channel.close()
            channel.close()
            channel.send(b"after the end")

    run(scenario())


def test_other_groups_on_the_port_are_not_heard(run, until, port) -> None:
    async def scenario() -> None:
        (ours, received), (other, other_received) = (
            collector(GROUP, port), collector(OTHER_GROUP, port)
        )
        await ours.start()
        await other.start()
        other.send(b"for the other group")
        await until(lambda: other_received)
        ours.send(b"for ours")
        await until(lambda: received)
        assert [data for data, _ in received] == [b"for ours"]
        ours.close()
        other.close()

    run(scenario())


def test_large_and_empty_datagrams(run, until, port) -> None:
    async def scenario() -> None:
        channel, received = collector(GROUP, port)
        await channel.start()
        sizes = [0, 1, 1400, 60_000]
        for size in sizes:
            channel.send(b"x" * size)
        await until(lambda: len(received) == len(sizes))
        assert [len(data) for data, _ in received] == sizes
        channel.close()

    run(scenario())


def test_a_burst_longer_than_one_turn_arrives(run, until, port) -> None:
    async def scenario() -> None:
        channel, received = collector(GROUP, port)
        await channel.start()
        for number in range(150):
            channel.send(b"%d" % number)
        await until(lambda: len(received) == 150)
        assert [int(data) for data, _ in received] == list(range(150))
        channel.close()

    run(scenario())


def test_it_can_be_started_again(run, until, port) -> None:
    async def scenario() -> None:
        channel, received = collector(GROUP, port)
        for _ in range(2):
            await channel.start()
            channel.send(b"hello")
            channel.close()
        await channel.start()
        channel.send(b"again")
        await until(lambda: received)
        assert [data for data, _ in received] == [b"again"]
        channel.close()

    run(scenario())


def test_a_handler_may_fail_or_close_the_channel(run, until, port, caplog) -> None:
    async def scenario() -> None:
        seen: list[bytes] = []

        def handle(data: bytes, source: tuple[str, int]) -> None:
            seen.append(data)
            if data == b"fail":
                raise ZeroDivisionError
            channel.close()

        channel = MulticastChannel(GROUP, port, 1, "127.0.0.1", handle)
        await channel.start()
        for data in (b"fail", b"close", b"never seen"):
            channel.send(data)
        await until(lambda: len(seen) == 2)
        await asyncio.sleep(0)
        assert seen == [b"fail", b"close"]

    run(scenario())
    assert [r.exc_info[0] for r in caplog.records if r.exc_info] == [ZeroDivisionError]


def test_send_failures_are_counted_and_told_once_per_change(run, port) -> None:
    class Sending:
        """A socket whose network comes and goes."""

        failure: int | None = None

        def sendto(self, data: bytes, address: tuple[str, int]) -> None:
            if self.failure is not None:
                raise OSError(self.failure, "the system's words")

        def close(self) -> None:
            pass

    async def scenario() -> None:
        told: list[str] = []
        channel = MulticastChannel(
            GROUP, port, 1, "127.0.0.1", ignore, told.append, lambda: told.append("recovered")
        )
        await channel.start()
        channel._sending.close()
        channel._sending = sending = Sending()
        plan = [None, errno.ENETUNREACH, errno.ENETUNREACH, errno.EPERM, None, None, errno.ENOBUFS]
        for sending.failure in plan:
            channel.send(b"data")
        assert (channel.sent, channel.send_failures) == (3, 4)
        assert len(told) == 4
        assert told[2] == "recovered"
        assert told[0] == (
            f"cannot send 4 bytes to multicast group 228.0.0.4:{port} on the interface of "
            "127.0.0.1: the system's words"
        )
        channel.close()

    run(scenario())


def test_too_large_a_datagram_is_a_counted_failure(run, port) -> None:
    async def scenario() -> None:
        told: list[str] = []
        channel, _ = collector(GROUP, port, on_trouble=told.append)
        await channel.start()
        channel.send(b"x" * 70_000)
        assert channel.send_failures == 1
        assert "70000 bytes" in told[0]
        channel.close()

    run(scenario())


def test_an_interface_that_is_not_there_is_a_clear_error(run, port) -> None:
    channel = MulticastChannel(GROUP, port, 1, "192.0.2.77", ignore)
    text = rf"cannot join multicast group 228\.0\.0\.4:{port} on the interface of 192\.0\.2\.77: "
    with pytest.raises(OSError, match=text):
        run(channel.start())


def test_a_port_somebody_keeps_for_himself_is_a_clear_error(run) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as selfish:
        selfish.bind(("", 0))
        port = selfish.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot join multicast group 228.0.0.4:{port} on"):
            run(MulticastChannel(GROUP, port, 1, "127.0.0.1", ignore).start())


@pytest.mark.parametrize(
    ("group", "interface_address", "problem"),
    [
        ("10.0.0.1", "127.0.0.1", "not a multicast address"),
        ("ff02::1", "127.0.0.1", "IPv4 address in multicast_address"),
        ("228.0.0.4", "::1", "IPv4 address in bind"),
        ("228.0.0.4", "auto", "IPv4 address in bind"),
    ],
)
def test_what_is_not_possible_is_refused(group, interface_address, problem) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        MulticastChannel(group, 45564, 1, interface_address, ignore)


# ---- real networks -------------------------------------------------------------------------------


class Speaker:
    """A speaking process in a namespace, and the lines it printed."""

    def __init__(self, host: Host, name: str, interface_address: str, group: str = GROUP) -> None:
        command = [sys.executable, "-m", "tests.net.multicast_speaker"]
        process = host.start(
            [*command, name, interface_address, group], stdout=subprocess.PIPE, text=True
        )
        self.lines: set[str] = set()
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        try:
            for line in process.stdout:
                self.lines.add(line.strip())
        except ValueError:
            pass


def wait_for(condition: Callable[[], object], speakers: list[Speaker]) -> None:
    try:
        wait_until(condition, "datagrams", 30)
    except StepFailed:
        pytest.fail(str([speaker.lines for speaker in speakers]))


@pytest.mark.system
def test_hosts_of_a_network_hear_each_other() -> None:
    with network(3) as hosts:
        speakers = [Speaker(h, f"node{n}", h.address) for n, h in enumerate(hosts)]
        everybody = {f"node{n} {h.address}" for n, h in enumerate(hosts)}
        wait_for(lambda: all(speaker.lines == everybody for speaker in speakers), speakers)


@pytest.mark.system
def test_a_cut_host_hears_itself_only_and_comes_back() -> None:
    with network(2) as hosts:
        hosts[1].cut()
        speakers = [Speaker(h, f"node{n}", h.address) for n, h in enumerate(hosts)]
        wait_for(lambda: all(speaker.lines for speaker in speakers), speakers)
        assert speakers[0].lines == {"node0 10.77.0.1"}
        hosts[1].mend()
        wait_for(lambda: all(len(speaker.lines) == 2 for speaker in speakers), speakers)


@pytest.mark.system
def test_nodes_on_two_interfaces_of_a_host_do_not_take_from_each_other() -> None:
    with network(2) as hosts:
        local = Speaker(hosts[0], "local", "127.0.0.1")
        on_network = Speaker(hosts[0], "network", hosts[0].address)
        other_group = Speaker(hosts[1], "other", hosts[1].address, OTHER_GROUP)
        far = Speaker(hosts[1], "far", hosts[1].address)
        speakers = [local, on_network, other_group, far]
        on_the_network = {"network 10.77.0.1", "far 10.77.0.2"}
        wait_for(lambda: local.lines >= {"local 127.0.0.1"}, speakers)
        wait_for(lambda: on_network.lines >= on_the_network, speakers)
        wait_for(lambda: far.lines >= on_the_network and other_group.lines, speakers)
        # A host's sockets may hear what reaches it for another, but nobody sends where he is not.
        assert far.lines == on_the_network
        assert other_group.lines == {"other 10.77.0.2"}
