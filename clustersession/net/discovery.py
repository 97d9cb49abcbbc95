"""Resolves seeds, which say where to look for the first peer when there is no multicast."""

import asyncio
import logging
import re
import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from typing import NamedTuple

from clustersession.core.errors import ConfigurationError

logger = logging.getLogger("clustersession.net")

RESOLVE_TIMEOUT_S = 5.0
# A name with more records than any cluster has members is a mistake or an attack.
ADDRESSES_PER_SEED_MAX = 256

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")


class Seed(NamedTuple):
    """Names a place to look: one host, or with ``every_record`` every address of a name."""

    host: str
    port: int
    every_record: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'dns:' if self.every_record else ''}{host}:{self.port}"


def parse_seed(text: str) -> Seed:
    """Read "host:port" or "dns:name:port"; an IPv6 address stands in brackets.

    Raises ConfigurationError that says what is wrong with it.
    """
    every_record = text.startswith("dns:")
    host, colon, port_text = text.removeprefix("dns:").rpartition(":")
    if not colon or not port_text.isascii() or not port_text.isdigit():
        raise _bad(text, "it has no port")
    port = int(port_text[:6])
    if not 1 <= port <= 65_535:
        raise _bad(text, "the port is not between 1 and 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if every_record or not _is_ipv6(host):
            raise _bad(text, "brackets are for an IPv6 address")
    elif ":" in host:
        raise _bad(text, "an IPv6 address must stand in brackets")
    elif len(host) > 253 or _NAME.fullmatch(host) is None:
        raise _bad(text, "the host is not a name or an address")
    return Seed(host, port, every_record)


async def resolve(
    seeds: Iterable[str | Seed],
    on_problem: Callable[[str], None] | None = None,
    timeout_s: float = RESOLVE_TIMEOUT_S,
) -> list[tuple[str, int]]:
    """Look up the addresses that the seeds stand for now, once each, in the order of the seeds.

    A plain host yields its first address, a "dns:" seed one for each A and AAAA record. A seed that
    does not resolve within ``timeout_s`` is left out and on_problem(text) told (default: logged at
    level info); names change, so this is to be called again and again. Raises ConfigurationError
    for a seed that does not parse.
    """
    parsed = [parse_seed(seed) if isinstance(seed, str) else seed for seed in seeds]
    report = on_problem or (lambda text: logger.info("%s", text))
    found = await asyncio.gather(*(_resolve_one(seed, report, timeout_s) for seed in parsed))
    return list(dict.fromkeys(address for addresses in found for address in addresses))


async def _resolve_one(
    seed: Seed, report: Callable[[str], None], timeout_s: float
) -> list[tuple[str, int]]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            records = await loop.getaddrinfo(seed.host, seed.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        report(f"seed {seed}: no answer from the resolver within {timeout_s:g} s")
        return []
    # A label that IDNA cannot encode ends as UnicodeError.
    except (OSError, UnicodeError) as error:
        report(f"seed {seed} does not resolve: {error}")
        return []
    addresses = [(str(record[4][0]), seed.port) for record in records]
    return addresses[:ADDRESSES_PER_SEED_MAX] if seed.every_record else addresses[:1]


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _bad(text: str, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f'seed {text!r}: {problem}; a seed is "host:port" or "dns:name:port"'
    )
