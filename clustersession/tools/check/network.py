"""Checks what lies beyond this host: address, ports, seeds, the group, and the peers."""

import asyncio
import socket
from collections.abc import Iterator
from errno import EADDRINUSE
from ipaddress import ip_address
from typing import Any, NamedTuple

from clustersession.core.identity import Address
from clustersession.net.discovery import parse_seed, resolve
from clustersession.net.interfaces import advertised_address, is_loopback
from clustersession.settings.rules import split_address
from clustersession.settings.settings import Settings
from clustersession.tools.check.peers import Asker, Heard, PeerAnswer
from clustersession.tools.check.report import Verdict, ok, problem, warning
from clustersession.wire.envelope import DropReason

RESOLVE_TIMEOUT_S = 2.0
_STRANGERS = {
    DropReason.UNKNOWN_KEY: (
        "warning", "sends with another secret: harmless from another application; a node of this "
                   "cluster needs the same CLUSTERSESSION_SECRET",
    ),
    DropReason.OTHER_CLUSTER: (
        "warning", "is of another cluster_name; that is harmless if it is meant to be",
    ),
    DropReason.UNKNOWN_VERSION: (
        "problem", "sends in a version that this one does not read; upgrade the older one",
    ),
}


class _Member(NamedTuple):
    route: str
    address: str


async def check_network(
    settings: Settings, cluster_names: set[str], status: dict[str, Any] | None,
    skews: dict[str, int],
) -> list[Verdict]:
    """Check all of it. ``settings`` are complete; peers' clocks go into ``skews``."""
    verdicts: list[Verdict] = [*_address(settings), _ports(settings, status)]
    if verdicts[-1].level == "problem":
        return verdicts
    asker = Asker(settings, cluster_names)
    seeds, heard = await asyncio.gather(_seeds(settings), _listen(asker, settings))
    seed_verdicts, addresses = seeds
    known = status["members"] if status else []
    own = status["address"] if status else ""
    living = [m for m in known if m["status"] in ("alive", "suspect")]
    addresses |= {identity.address for identity in heard.peers}
    addresses |= {_parse(member["address"]) for member in living}
    answers = await asker.ask_all(a for a in addresses if str(a) != own)
    verdicts += _group(settings, heard, own, answers)
    verdicts += seed_verdicts
    verdicts += _peers(answers, settings, status)
    for identity, skew_ms in heard.peers.items():
        if str(identity.address) != own:
            skews[identity.route] = skew_ms
    for member in living:
        skews.setdefault(member["route"], member["clock_skew_ms"])
    members = {_Member(i.route, str(i.address)) for i in heard.peers}
    members |= {_Member(a.identity.route, str(a.identity.address)) for a in answers if a.identity}
    members |= {_Member(member["route"], member["address"]) for member in living}
    verdicts.append(_route(settings, {m for m in members if m.address != own}))
    return verdicts


def _address(settings: Settings) -> Iterator[Verdict]:
    host, port = split_address(settings.advertise)
    told = advertised_address(settings.bind, host)
    text = f"peers are told {told}{f':{port}' if port else ''}, listening on {settings.bind}"
    if ip_address(told).is_loopback:
        yield warning("address", f"{text}: only nodes of this host can reach it; set bind to an "
                                 "address that the others can")
    else:
        yield ok("address", text)
    name = socket.gethostname()
    if is_loopback(name) and any(parse_seed(seed).host == name for seed in settings.seeds):
        yield warning("address", f"the seed {name} is a loopback address on this host (often "
                                 "127.0.1.1 in /etc/hosts); others may see another one")


def _ports(settings: Settings, status: dict[str, Any] | None) -> Verdict:
    first, last = settings.port, settings.port + settings.port_range - 1
    span = f"{first} to {last}" if last > first else str(first)
    if status:
        return ok("ports", f"this node's agent (pid {status['agent_pid']}) listens on "
                           f"{status['address']}")
    family = socket.AF_INET6 if ip_address(settings.bind).version == 6 else socket.AF_INET
    for candidate in range(first, last + 1):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((settings.bind, candidate))
                # Only listening tells whether somebody else does; it ends at once.
                sock.listen(1)
        except OSError as error:
            if error.errno != EADDRINUSE:
                return problem("ports", f"cannot listen on {settings.bind}:{candidate}: "
                                        f"{error.strerror}; set bind to an address of this host")
            continue
        if candidate == first:
            return ok("ports", f"{candidate} is free")
        return ok("ports", f"{candidate} is free; those before it, from {first}, are taken")
    return problem("ports", f"no port of {span} is free on {settings.bind}; set port, or a larger "
                            "port_range")


async def _listen(asker: Asker, settings: Settings) -> Heard:
    if not settings.multicast_address:
        return Heard()
    return await asker.listen(max(1.2, 2.5 * settings.heartbeat_interval_s))


async def _seeds(settings: Settings) -> tuple[list[Verdict], set[Address]]:
    """Resolve the seeds, with a verdict for each that has no address."""
    verdicts: list[Verdict] = []
    found = await resolve(
        settings.seeds,
        lambda text: verdicts.append(problem("seeds", f"{text}; mend the name or the seed")),
        RESOLVE_TIMEOUT_S,
    )
    if settings.seeds and not verdicts:
        verdicts.append(ok("seeds", ", ".join(str(Address(*each)) for each in found)))
    return verdicts, {Address(*each) for each in found}


def _group(
    settings: Settings, heard: Heard, own: str, answers: list[PeerAnswer]
) -> Iterator[Verdict]:
    if not settings.multicast_address:
        if not settings.seeds:
            yield problem("multicast", "multicast_address is empty and there are no seeds: nodes "
                                       "cannot find each other; set one of them")
        else:
            yield ok("multicast", "off; nodes are found by seeds")
        return
    group = f"{settings.multicast_address}:{settings.multicast_port}"
    others = [i for i in heard.peers if str(i.address) != own]
    if heard.trouble or not heard.ourselves:
        why = heard.trouble or "what was sent did not come back"
        instead = "" if settings.seeds else \
            '; set bind to the interface that carries it, or multicast_address = "" and seeds'
        make = warning if settings.seeds else problem
        yield make("multicast", f"nothing is heard from {group}: {why}{instead}")
    elif others:
        yield ok("multicast", f"{group} works; heard " + ", ".join(sorted(i.route for i in others)))
    elif any(answer.identity is not None for answer in answers):
        yield warning("multicast", f"{group} works here and does not reach the nodes that answer "
                                   'by TCP; that is enough, or set multicast_address = ""')
    else:
        make = ok if settings.seeds else warning
        yield make("multicast", f"{group} works here; no other node was heard: either there is "
                                "none yet, or the network carries no multicast (set seeds)")
    for reason, source in heard.strangers.items():
        if reason in _STRANGERS:
            level, words = _STRANGERS[reason]
            make = problem if level == "problem" else warning
            yield make("multicast", f"{source} {words}")


def _peers(
    answers: list[PeerAnswer], settings: Settings, status: dict[str, Any] | None
) -> Iterator[Verdict]:
    own = status["node"] if status else ""
    for answer in answers:
        if answer.trouble:
            make = warning if answer.absent else problem
            yield make("peer", f"{answer.address}: {answer.trouble}")
        elif answer.identity is not None and own and answer.identity.node.hex()[:8] == own:
            yield ok("peer", f"{answer.address}: this node itself")
        elif answer.identity is not None:
            yield ok("peer", f"{answer.address}: {answer.identity.route}, same cluster and secret")
            if not answer.by_udp:
                yield warning("udp", f"{answer.address}: no answer by UDP, so writes to it are "
                                     "confirmed by the agents, which takes longer; open UDP at "
                                     "that port, or leave it at that")
    if not answers and settings.seeds:
        yield warning("peer", "no seed has an address; this node would be alone")


def _route(settings: Settings, members: set[_Member]) -> Verdict:
    same = sorted(m.address for m in members if m.route == settings.route)
    if same:
        return problem("route", f"{settings.route} is also the route of {', '.join(same)}; give "
                                "each node its own, CLUSTERSESSION_ROUTE")
    return ok("route", f"{settings.route}: legal, and nobody else's")


def _parse(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return Address(host.strip("[]"), int(port))
