"""Finding each other without multicast, on hosts of their own: formed, or refused with the reason.

The nodes are agents without an application, which is all that discovery needs.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from clustersession.cli import main
from clustersession.core.errors import ReplicaError
from clustersession.net.agent_link import AgentGone
from clustersession.operations.nodes import status
from clustersession.replica.home import NodeHome
from clustersession.worker.known_secrets import directory_name
from tests.support.namespaces import Host, network
from tests.support.processes import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]

SECRET = "a secret for a test of discovery"
FORM_S = 25.0
ELSEWHERE = "10.77.9.9"


@dataclass
class Member:
    """One agent on a host."""

    host: Host
    name: str
    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.directory / f"{self.name}.log").read_text()

    def status(self) -> dict:
        try:
            name = directory_name("discovery", self.name, SECRET)
            return status(NodeHome(self.directory / "state" / name))
        except (AgentGone, ReplicaError, ValueError, TimeoutError):
            return {"phase": "", "members": [], "address": ""}

    def sees(self) -> dict[str, str]:
        """Addresses of the members that are alive, by name."""
        return {
            member["route"]: member["address"]
            for member in self.status()["members"] if member["status"] == "alive"
        }

    def is_ready(self) -> bool:
        return self.status()["phase"] == "ready"

    def lines(self, text: str) -> list[str]:
        return [line for line in self.log.splitlines() if text in line]


def environment(name: str, directory: Path, **settings: str) -> dict[str, str]:
    given = {
        "route": name, "cluster_name": "discovery", "secret": SECRET, "multicast_address": "",
        "state_dir": str(directory / "state"), "port_range": "1", **settings,
    }
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CLUSTERSESSION_")}
    ours = {f"CLUSTERSESSION_{key.upper()}": value for key, value in given.items()}
    return {**inherited, **ours}


def start(host: Host, name: str, directory: Path, **settings: str) -> Member:
    with (directory / f"{name}.log").open("ab") as log:
        process = host.start(
            [sys.executable, "-m", "clustersession", "agent"],
            env=environment(name, directory, **settings), stdout=log, stderr=log,
        )
    return Member(host, name, directory, process)


def wait_formed(*members: Member) -> None:
    names = {member.name for member in members}
    for member in members:
        wait_for(
            lambda m=member: set(m.sees()) >= names - {m.name} and m.is_ready(),
            f"{member.name} to see {names}; its log:\n{member.log}", FORM_S,
        )


def start_helper(host: Host, *arguments: str) -> None:
    process = host.start([sys.executable, "-m", *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


@contextmanager
def named(hosts: list[Host], zone: Path) -> Iterator[None]:
    """A name server on the first host, asked by all."""
    zone.write_text("{}")
    start_helper(hosts[0], "tests.support.dns_server", hosts[0].address, str(zone))
    for host in hosts:
        host.write_etc(
            "resolv.conf", f"nameserver {hosts[0].address}\noptions timeout:1 attempts:1\n"
        )
    yield


def write_zone(path: Path, **names: list[str]) -> None:
    made = path.with_suffix(".new")
    made.write_text(json.dumps({f"{name}.test": found for name, found in names.items()}))
    made.replace(path)


def test_a_dns_name_whose_answers_change(tmp_path: Path) -> None:
    zone = tmp_path / "zone.json"
    with network(4) as hosts, named(hosts, zone):
        _, one, two, three = hosts
        seeds = "dns:peers.test:4000"
        first = start(one, "first", tmp_path, bind=one.address, seeds=seeds)
        second = start(two, "second", tmp_path, bind=two.address, seeds=seeds)
        for node in (first, second):
            # Nobody is there to be waited for, and readiness must not wait for the name.
            wait_for(node.is_ready, "it to be ready alone", FORM_S)
            assert node.sees() == {}
            assert node.lines("seed dns:peers.test:4000 does not resolve")
        write_zone(zone, peers=[one.address, two.address])
        wait_formed(first, second)
        second.process.kill()
        wait_for(lambda: first.sees() == {}, "the loss")
        write_zone(zone, peers=[one.address, three.address])
        third = start(three, "third", tmp_path, bind=three.address, seeds=seeds)
        wait_formed(first, third)


def test_a_host_name_that_is_127_0_1_1_is_told_to_nobody(tmp_path: Path) -> None:
    with network(2) as hosts:
        members = []
        for number, host in enumerate(hosts, 1):
            lines = [f"{other.address} host{n}" for n, other in enumerate(hosts, 1)]
            # As Debian's installer leaves it: the host's own name stands for 127.0.1.1.
            lines[number - 1] = f"127.0.1.1 host{number}"
            host.write_etc("hosts", "127.0.0.1 localhost\n" + "\n".join(lines) + "\n")
            host.ip("route", "add", "default", "via", hosts[0].address, "dev", "eth0")
            members.append(start(
                host, f"node{number}", tmp_path, seeds="host1:4000,host2:4000",
                bind=("auto", "0.0.0.0")[number - 1],
            ))
        wait_formed(*members)
        for member, other in (members, reversed(members)):
            assert member.sees() == {other.name: f"{other.host.address}:4000"}


def test_bind_chooses_between_two_interfaces(tmp_path: Path) -> None:
    with network(2) as hosts:
        for number, host in enumerate(hosts, 1):
            # The way to everywhere leads out of the wrong one.
            host.ip("link", "add", "eth1", "type", "veth", "peer", "name", "nowhere")
            host.ip("address", "add", f"10.99.0.{number}/24", "dev", "eth1")
            host.ip("link", "set", "eth1", "up")
            host.ip("link", "set", "nowhere", "up")
            host.ip("route", "add", "default", "dev", "eth1")
        seeds = f"{hosts[0].address}:4000"
        chosen = [
            start(host, f"chosen{n}", tmp_path, bind=host.address, seeds=seeds)
            for n, host in enumerate(hosts, 1)
        ]
        wait_formed(*chosen)
        for member, other in (chosen, reversed(chosen)):
            assert member.sees() == {other.name: f"{other.host.address}:4000"}
        # Left to itself it takes the default route's, and both sides say that this is wrong.
        auto = start(hosts[1], "auto", tmp_path, port="4001", seeds=seeds)
        wait_formed(chosen[0], auto)
        assert chosen[0].sees()["auto"] == "10.99.0.2:4001"
        wait_for(lambda: chosen[0].lines("auto says that it listens at 10.99.0.2:4001"), "a line")
        wait_for(lambda: auto.lines("does not reach this node at 10.99.0.2:4001"), "a line")


def test_an_address_where_nobody_is_reached_is_named_on_both_sides(tmp_path: Path) -> None:
    with network(3) as hosts:
        seed = f"{hosts[0].address}:4000"
        first = start(hosts[0], "first", tmp_path, bind=hosts[0].address)
        wrong = start(
            hosts[1], "wrong", tmp_path, bind=hosts[1].address, advertise=ELSEWHERE, seeds=seed
        )
        wait_formed(first, wrong)
        assert first.sees() == {"wrong": f"{ELSEWHERE}:4000"}
        there = f"wrong says that it listens at {ELSEWHERE}:4000, where nobody is reached"
        here = f"first does not reach this node at {ELSEWHERE}:4000"
        for member, text in ((first, there), (wrong, here)):
            wait_for(lambda m=member, t=text: m.lines(t), text)
        # Whoever only hears of it cannot find it, but it hears of them too.
        third = start(hosts[2], "third", tmp_path, bind=hosts[2].address, seeds=seed)
        wait_formed(first, wrong, third)
        assert len(first.lines(there)) == len(wrong.lines("first does not reach")) == 1
        assert first.lines("third says") == []


def test_a_published_port_is_told_to_peers(tmp_path: Path) -> None:
    with network(3) as hosts:
        one, two, three = hosts
        two.ip("address", "add", "172.18.0.2/32", "dev", "lo")
        start_helper(
            two, "tests.support.published_port", two.address, "14000", "172.18.0.2", "4000"
        )
        told = f"{two.address}:14000"
        inside = start(two, "inside", tmp_path, bind="172.18.0.2", advertise=told)
        # It knows nobody: the others have to find it where its port is published.
        first = start(one, "first", tmp_path, bind=one.address, seeds=told)
        wait_formed(first, inside)
        assert first.sees() == {"inside": told}
        third = start(three, "third", tmp_path, bind=three.address, seeds=f"{one.address}:4000")
        wait_formed(first, inside, third)
        assert "listens at" not in first.log + third.log


def test_ipv6(tmp_path: Path) -> None:
    with network(2) as hosts:
        members = []
        for number, host in enumerate(hosts, 1):
            host.ip("-6", "address", "add", f"fd77::{number}/64", "dev", "eth0", "nodad")
            members.append(start(
                host, f"node{number}", tmp_path, seeds="[fd77::1]:4000",
                bind=("fd77::1", "::")[number - 1],
            ))
        wait_formed(*members)
        for number, (member, other) in enumerate((members, members[::-1]), 1):
            assert member.status()["address"] == f"[fd77::{number}]:4000"
            assert member.sees() == {other.name: f"[fd77::{3 - number}]:4000"}


REFUSED = {
    "link-local bind": (
        {"bind": "fe80::1%eth0", "seeds": "10.77.0.1:4000"}, "bind is 'fe80::1%eth0'",
        "use a global or a unique local address",
    ),
    "link-local seed": (
        {"bind": "127.0.0.1", "seeds": "[fe80::2]:4000"}, "seeds is", "link-local IPv6 addresses",
    ),
    "loopback bind": (
        {"bind": "127.0.0.1", "seeds": "10.77.0.1:4000"}, "cannot reach 127.0.0.1", "set bind",
    ),
    "loopback advertised": (
        {"bind": "0.0.0.0", "advertise": "127.0.1.1"}, "advertise is '127.0.1.1'", "its own host",
    ),
    "a name advertised": (
        {"bind": "0.0.0.0", "advertise": "node1.example"}, "advertise is", "an IP address",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    settings, *texts = REFUSED[case]
    done = CliRunner().invoke(main, ["agent"], env=environment("node1", tmp_path, **settings))
    assert done.exit_code == 1
    for text in texts:
        assert text in done.output


def test_an_address_of_another_host_is_refused(tmp_path: Path) -> None:
    settings = {"bind": "198.51.100.7"}
    done = subprocess.run(
        [sys.executable, "-m", "clustersession", "agent"],
        env=environment("node1", tmp_path, **settings), capture_output=True, text=True, timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "cannot listen on 198.51.100.7 port 4000 (settings bind and port)" in done.stderr
    assert "Traceback" not in done.stderr
