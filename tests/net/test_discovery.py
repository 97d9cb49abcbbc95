"""Seeds: what parses, what is refused and why, and that the resolver's failures stay small."""

import asyncio
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustersession.core.errors import ConfigurationError
from clustersession.net.discovery import Seed, parse_seed, resolve


@pytest.mark.parametrize(
    ("text", "seed"),
    [
        ("10.0.0.1:4000", Seed("10.0.0.1", 4000, False)),
        ("host-a.example.org:4000", Seed("host-a.example.org", 4000, False)),
        ("web_1:1", Seed("web_1", 1, False)),
        ("[2001:db8::1]:4000", Seed("2001:db8::1", 4000, False)),
        ("dns:peers.default.svc.cluster.local:65535",
         Seed("peers.default.svc.cluster.local", 65535, True)),
        ("dns:tasks.web.:4000", Seed("tasks.web.", 4000, True)),
    ],
)
def test_seeds_that_parse(text: str, seed: Seed) -> None:
    assert parse_seed(text) == seed
    assert parse_seed(str(seed)) == seed


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no port"),
        ("host", "no port"),
        ("host:", "no port"),
        ("host:http", "no port"),
        ("host:\u0664\u0660", "no port"),
        ("dns:name", "no port"),
        ("dns:4000", "no port"),
        ("host:0", "between 1 and 65535"),
        ("host:65536", "between 1 and 65535"),
        ("host:" + "9" * 5000, "between 1 and 65535"),
        (":4000", "not a name"),
        ("dns::4000", "not a name"),
        ("http://host:4000", "must stand in brackets"),
        ("2001:db8::1:4000", "must stand in brackets"),
        ("[host]:4000", "brackets are for"),
        ("dns:[2001:db8::1]:4000", "brackets are for"),
        ("ho st:4000", "not a name"),
        ("-host:4000", "not a name"),
        ("a..b:4000", "not a name"),
        ("a" * 64 + ":4000", "not a name"),
        ("a." * 127 + "a:4000", "not a name"),
    ],
)
def test_seeds_that_do_not_parse_say_why(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        parse_seed(text)


@settings(max_examples=200)
@given(st.text(max_size=40))
def test_nothing_else_is_raised(text: str) -> None:
    try:
        parse_seed(text)
    except ConfigurationError:
        pass


def answers(**records: list[str]):
    """A resolver that knows these names and no others."""

    async def getaddrinfo(host: str, port: int, **options: object):
        if host == "hangs":
            await asyncio.sleep(60)
        if host not in records:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port))
            for a in records[host]
        ]

    return getaddrinfo


async def test_dns_seeds_yield_every_record_and_hosts_the_first(monkeypatch) -> None:
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(
        loop, "getaddrinfo", answers(peers=["10.0.0.1", "10.0.0.2", "2001:db8::1"], b=["10.0.0.2"])
    )
    found = await resolve(["dns:peers:4000", "peers:4001", "b:4000"])
    assert found == [
        ("10.0.0.1", 4000), ("10.0.0.2", 4000), ("2001:db8::1", 4000), ("10.0.0.1", 4001)
    ]


async def test_failures_are_reported_and_do_not_spoil_the_rest(monkeypatch) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answers(a=["10.0.0.1"]))
    problems: list[str] = []
    found = await resolve(["gone:1", "hangs:2", "dns:a:3"], problems.append, timeout_s=0.05)
    assert found == [("10.0.0.1", 3)]
    assert sorted(problems) == [
        "seed gone:1 does not resolve: [Errno -2] Name or service not known",
        "seed hangs:2: no answer from the resolver within 0.05 s",
    ]


def test_addresses_resolve_to_themselves(run) -> None:
    assert run(resolve(["127.0.0.1:4000", Seed("::1", 4001, False)])) == [
        ("127.0.0.1", 4000), ("::1", 4001)
    ]


async def test_a_bad_seed_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError):
        await resolve(["nonsense"])
