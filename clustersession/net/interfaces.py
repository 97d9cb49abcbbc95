"""Chooses which of its host's addresses a node listens on, and which one it tells others."""

import array
import fcntl
import socket
import struct
import sys
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from clustersession.core.errors import ConfigurationError

LOOPBACK = "127.0.0.1"

# Addresses reserved for documentation: the way to them is the default route, and nobody is there.
_FAR_AWAY = {4: "192.0.2.1", 6: "2001:db8::1"}
_SIOCGIFADDR = 0x8915
_IFREQ = struct.Struct("16s24s")
_IFREQ_ADDRESS = slice(20, 24)


def bind_address(bind: str, multicast_address: str) -> str:
    """Choose the address to listen on: ``bind``, or for "auto" the one that reaches the group.

    That is the address of the interface that packets to the group, or without a group to the world,
    would leave by; else any address that is not loopback; else 127.0.0.1. Nothing is sent.
    """
    if bind != "auto":
        return bind
    return _address_towards(multicast_address or _FAR_AWAY[4]) or _any_address() or LOOPBACK


def advertised_address(bind: str, advertise: str = "", other_hosts: Iterable[str] = ()) -> str:
    """Choose the address to tell peers when listening on ``bind``, which is an address.

    ``advertise`` is the setting, without a port. Without it and listening on all addresses, it is
    the one the default route leaves by. ``other_hosts`` are hosts of seeds or peers, as addresses
    or names: when one of them is surely not this host, a loopback address would send every peer to
    itself, so that raises ConfigurationError; and so does advertising loopback while listening to
    others.
    """
    address = ip_address(advertise or bind)
    if address.is_unspecified:
        towards = _address_towards(_FAR_AWAY[address.version])
        found = towards or _any_address(address.version)
        address = ip_address(found or ("::1" if address.version == 6 else LOOPBACK))
    if advertise and address.is_loopback and not ip_address(bind).is_loopback:
        raise ConfigurationError(
            f"advertise is {advertise!r}: every peer would look for this node on its own host; set "
            "it to an address that they can reach"
        )
    if address.is_loopback:
        elsewhere = [host for host in other_hosts if _is_elsewhere(host)]
        if elsewhere:
            raise ConfigurationError(
                f"peers on other hosts ({', '.join(elsewhere)}) cannot reach {address}: set bind "
                "to an address of this host that they can reach, or advertise to one that leads "
                "here"
            )
    return str(address)


def is_loopback(host: str) -> bool:
    """Tell whether a host, given as address or as name, is reached only from this host.

    Asks the resolver for names. Many systems map the host's own name to 127.0.1.1: such a name is
    loopback here and something else for everybody else. A name that does not resolve is not.
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ip_address(_plain(str(info[4][0]))).is_loopback for info in found)


def _is_elsewhere(host: str) -> bool:
    address = _parse(host)
    return not address.is_loopback if address is not None else not is_loopback(host)


def _parse(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _plain(address: str) -> str:
    return address.partition("%")[0]


def _address_towards(target: str) -> str | None:
    """Find the source address of packets to the target, if the system has a way there."""
    family = socket.AF_INET6 if ip_address(target).version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            # Connecting a datagram socket only looks up the route.
            sock.connect((target, 9))
            address = ip_address(_plain(sock.getsockname()[0]))
    except OSError:
        return None
    return None if address.is_unspecified or address.is_loopback else str(address)


def _any_address(version: int = 4) -> str | None:
    """Find an address of this host that others can use; IPv6 falls back to IPv4.

    A socket that listens on all IPv6 addresses hears IPv4 as well.
    """
    candidates = _interface_addresses() if sys.platform == "linux" else _named_addresses()
    if version == 6:
        candidates = _interface_addresses_v6() + candidates
    for candidate in candidates:
        address = ip_address(candidate)
        if not (address.is_loopback or address.is_unspecified or address.is_link_local):
            return candidate
    return None


def _interface_addresses() -> list[str]:
    """List the first IPv4 address of each interface, in the system's order."""
    addresses = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            request = array.array("B", _IFREQ.pack(name.encode(), b""))
            try:
                fcntl.ioctl(sock, _SIOCGIFADDR, request)
            except OSError:
                continue
            addresses.append(socket.inet_ntoa(request.tobytes()[_IFREQ_ADDRESS]))
    return addresses


def _interface_addresses_v6() -> list[str]:
    """List the IPv6 addresses of this host, in the system's order, where the system tells."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return []
    return [str(IPv6Address(int(line.split()[0], 16))) for line in lines]


def _named_addresses() -> list[str]:
    """Look up the IPv4 addresses that the host's name stands for."""
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(info[4][0]) for info in found]
