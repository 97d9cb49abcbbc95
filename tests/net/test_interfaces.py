"""Addresses: what "auto" finds, and that loopback is never told to other hosts."""

import json
import socket
import subprocess
import sys

import pytest

from clustersession.core.errors import ConfigurationError
from clustersession.net import interfaces
from clustersession.net.interfaces import advertised_address, bind_address, is_loopback
from tests.support.namespaces import network

GROUP = "228.0.0.4"


@pytest.fixture
def no_route(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interfaces, "_address_towards", lambda target: None)


def test_a_given_address_is_taken_as_it_is() -> None:
    assert bind_address("10.1.2.3", GROUP) == "10.1.2.3"
    assert advertised_address("10.1.2.3", "", ["10.9.9.9"]) == "10.1.2.3"


def test_what_is_to_be_told_is_told() -> None:
    assert advertised_address("0.0.0.0", "192.0.2.7") == "192.0.2.7"
    assert advertised_address("10.1.2.3", "2001:db8::7", ["10.9.9.9"]) == "2001:db8::7"
    assert advertised_address("127.0.0.1", "127.0.0.1") == "127.0.0.1"
    with pytest.raises(ConfigurationError, match=r"advertise is '127\.0\.0\.1'.*its own host"):
        advertised_address("0.0.0.0", "127.0.0.1")
    # A forwarder in front of a node that listens on loopback.
    assert advertised_address("127.0.0.1", "192.0.2.7", ["192.0.2.8"]) == "192.0.2.7"


def test_auto_takes_the_way_to_the_group(monkeypatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        interfaces, "_address_towards", lambda target: asked.append(target) or "10.1.2.3"
    )
    assert bind_address("auto", GROUP) == "10.1.2.3"
    assert bind_address("auto", "") == "10.1.2.3"
    assert asked == [GROUP, "192.0.2.1"]


def test_without_a_way_any_address_that_is_not_loopback(monkeypatch, no_route) -> None:
    found = ["127.0.0.1", "169.254.0.1", "10.1.2.3", "10.1.2.4"]
    monkeypatch.setattr(interfaces, "_interface_addresses", lambda: found)
    monkeypatch.setattr(interfaces, "_named_addresses", lambda: found)
    assert bind_address("auto", GROUP) == "10.1.2.3"
    assert advertised_address("0.0.0.0") == "10.1.2.3"


def test_with_nothing_else_loopback(monkeypatch, no_route) -> None:
    monkeypatch.setattr(interfaces, "_interface_addresses", lambda: ["127.0.0.1"])
    monkeypatch.setattr(interfaces, "_named_addresses", lambda: ["127.0.1.1"])
    monkeypatch.setattr(interfaces, "_interface_addresses_v6", lambda: ["::1", "fe80::1"])
    assert bind_address("auto", GROUP) == "127.0.0.1"
    assert advertised_address("0.0.0.0") == "127.0.0.1"
    assert advertised_address("::") in ("::1",)


def test_all_ipv6_addresses_are_one_that_others_can_use(monkeypatch, no_route) -> None:
    monkeypatch.setattr(interfaces, "_interface_addresses", lambda: ["127.0.0.1", "10.1.2.3"])
    found = ["::1", "fe80::1", "fd00::7"]
    monkeypatch.setattr(interfaces, "_interface_addresses_v6", lambda: found)
    assert advertised_address("::") == "fd00::7"
    del found[-1]
    # The socket hears IPv4 as well.
    assert advertised_address("::") == "10.1.2.3"


def test_loopback_is_for_this_host_only(monkeypatch) -> None:
    monkeypatch.setattr(interfaces, "is_loopback", lambda host: host == "this-host")
    assert advertised_address("127.0.0.1") == "127.0.0.1"
    assert advertised_address("127.0.0.1", "", ["127.0.0.1", "::1", "this-host"]) == "127.0.0.1"
    for elsewhere in ("10.0.0.1", "2001:db8::1", "other-host"):
        with pytest.raises(ConfigurationError, match=f"{elsewhere}.*set bind"):
            advertised_address("127.0.0.1", "", ["127.0.0.1", elsewhere])


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.0.1.1", True), ("::1", True), ("10.0.0.1", False),
     ("2001:db8::1", False), ("localhost", True)],
)
def test_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_host_name_that_means_127_0_1_1_is_loopback(monkeypatch) -> None:
    def found(*addresses: str):
        return lambda *args, **options: [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", found("127.0.1.1"))
    assert is_loopback("this-host")
    monkeypatch.setattr(socket, "getaddrinfo", found("127.0.1.1", "10.0.0.1"))
    assert not is_loopback("this-host")


def test_a_name_nobody_knows_is_not_loopback(monkeypatch) -> None:
    def unknown(*args: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert not is_loopback("nobody")


@pytest.mark.system
def test_a_host_without_a_default_route() -> None:
    code = """
import json
from clustersession.net.interfaces import advertised_address, bind_address
print(json.dumps([bind_address("auto", "228.0.0.4"), advertised_address("0.0.0.0")]))
"""
    with network(1) as hosts:
        process = hosts[0].start([sys.executable, "-c", code], stdout=subprocess.PIPE)
        output, _ = process.communicate(timeout=20)
        assert json.loads(output) == ["10.77.0.1", "10.77.0.1"]
