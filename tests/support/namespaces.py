"""Small networks of Linux network namespaces: hosts with their own interfaces, on one machine.

    with network(3) as hosts:
        process = hosts[0].start([sys.executable, "-m", "..."], stdout=subprocess.PIPE)
        hosts[1].cut()

Every host is a namespace with an interface eth0 of its own, address 10.77.0.1 and up, on a bridge
in one more namespace. No routes lead anywhere else. Names are unique per run; everything is taken
down at the end of the block, processes started through ``start`` included.
"""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.processes import cannot_run, require_programs, require_root

_COUNTER = itertools.count()
_PROJECT = Path(__file__).resolve().parents[2]
_STOP_TIMEOUT_S = 5.0
_NETNS_ETC = Path("/etc/netns")  # "ip netns exec" shows what is there in place of /etc's own


class Host:
    """One namespace. address: its IPv4 address on the bridge."""

    def __init__(self, name: str, address: str, bridge: str, port: str) -> None:
        self.name = name
        self.address = address
        self._bridge = bridge
        self._port = port
        self._processes: list[subprocess.Popen[Any]] = []

    def start(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        """Start a process inside, in the project's root unless ``cwd`` says otherwise."""
        options.setdefault("cwd", _PROJECT)
        # ``ip netns exec`` replaces itself with the command, so the pid is the command's own.
        process = subprocess.Popen(["ip", "netns", "exec", self.name, *command], **options)
        self._processes.append(process)
        return process

    def ip(self, *arguments: str) -> None:
        """``ip`` inside, for what is special to a test: more interfaces, addresses and routes."""
        _ip("-n", self.name, *arguments)

    def sent_received(self) -> tuple[int, int]:
        """Bytes that eth0 has sent and received, with the headers of Ethernet."""
        # The other end of the cable counts the other way round.
        show = ["ip", "-n", self._bridge, "-json", "-stats", "link", "show", "dev", self._port]
        done = subprocess.run(show, capture_output=True, text=True, check=True)
        counts = json.loads(done.stdout)[0]["stats64"]
        return counts["rx"]["bytes"], counts["tx"]["bytes"]

    def write_etc(self, name: str, text: str) -> None:
        """What processes started afterwards find as the file of that name in /etc."""
        directory = _NETNS_ETC / self.name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)

    def cut(self) -> None:
        """Pull the cable."""
        _ip("-n", self._bridge, "link", "set", self._port, "down")

    def mend(self) -> None:
        """Plug it in again."""
        _ip("-n", self._bridge, "link", "set", self._port, "up")

    def isolate(self, isolated: bool = True) -> None:
        """Let the bridge carry nothing between this host and other isolated ones."""
        state = "on" if isolated else "off"
        _run("bridge", "-n", self._bridge, "link", "set", "dev", self._port, "isolated", state)

    def block_multicast(self) -> None:
        """Let the bridge deliver no multicast to this host; unicast and ARP go on."""
        _run("bridge", "-n", self._bridge, "link", "set", "dev", self._port, "mcast_flood", "off")

    def drop(self, *, leaving: str = "", arriving: str = "") -> None:
        """Drop what leaves this host, or arrives, and matches the nftables expression."""
        require_programs("nft")
        chains = (("ingress", leaving), ("egress", arriving))
        rules = "".join(
            f'chain {hook} {{\ntype filter hook {hook} device "{self._port}" priority 0;\n'
            f"{match} drop\n}}\n"
            for hook, match in chains if match
        )
        table = f"table netdev {self._port} {{\n{rules}}}\n"
        nft = ["ip", "netns", "exec", self._bridge, "nft", "-f", "-"]
        subprocess.run(nft, input=table, text=True, check=True)

    def drop_nothing(self) -> None:
        """The end of ``drop``."""
        table = ("netdev", self._port)
        _run("ip", "netns", "exec", self._bridge, "nft", "delete", "table", *table)

    def stop_processes(self) -> None:
        """Kill what ``start`` started."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait(_STOP_TIMEOUT_S)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


@contextlib.contextmanager
def network(count: int) -> Iterator[list[Host]]:
    """A bridge with ``count`` hosts. Skips the test where namespaces cannot be made."""
    _require_namespaces()
    prefix = f"cs{os.getpid():x}x{next(_COUNTER)}"
    bridge = f"{prefix}br"
    with contextlib.ExitStack() as cleanup:
        _add_namespace(bridge, cleanup)
        _ip("-n", bridge, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        _ip("-n", bridge, "link", "set", "br0", "up")
        hosts = []
        for index in range(count):
            name, port = f"{prefix}n{index}", f"port{index}"
            host = Host(name, f"10.77.{(index + 1) >> 8}.{(index + 1) & 255}", bridge, port)
            _add_namespace(name, cleanup)
            _ip("-n", bridge, "link", "add", port, "type", "veth", "peer", "eth0", "netns", name)
            _ip("-n", bridge, "link", "set", port, "master", "br0", "up")
            _ip("-n", name, "address", "add", f"{host.address}/16", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
            cleanup.callback(shutil.rmtree, _NETNS_ETC / name, ignore_errors=True)
            cleanup.callback(host.stop_processes)
            hosts.append(host)
        yield hosts


def _add_namespace(name: str, cleanup: contextlib.ExitStack) -> None:
    _ip("netns", "add", name)
    cleanup.callback(_ip, "netns", "delete", name)


def _require_namespaces() -> None:
    require_programs("ip", "bridge")
    require_root("a network namespace")
    probe = f"cs{os.getpid():x}x{next(_COUNTER)}"
    tried = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if tried.returncode:
        cannot_run(f"network namespaces cannot be made here: {tried.stderr.strip()}")
    _ip("netns", "delete", probe)


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
