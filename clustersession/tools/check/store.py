"""Checks the store: reached, new enough, with our functions, telling what changes, with our clock.

A session of its own passes through it, as one of an application would, and is gone in two seconds.
"""

import asyncio
import dataclasses
import secrets
import time
from statistics import median
from typing import Final

from clustersession.core.errors import StoreError
from clustersession.core.state import SessionState
from clustersession.net.store.asking import ANSWER_TIMEOUT_S, StoreAsker
from clustersession.net.store.inspection import warnings_of
from clustersession.net.store.open_store import plan_of
from clustersession.net.store.resp import command
from clustersession.net.store.server import StoreServer
from clustersession.node.store_calls import Merge, Read
from clustersession.settings.settings import Settings
from clustersession.tools.check.report import Verdict, ok, problem, warning

ROUND_TRIP_MS_MANY: Final = 20.0
_ROUNDS: Final = 5
_LIFE_MS: Final = 2_000
_NODE: Final = b"\0" * 8


async def check_store(settings: Settings) -> list[Verdict]:
    """Check all of it. ``settings`` have a store, and a secret."""
    plan = dataclasses.replace(plan_of(settings), replicas=0)
    reader, writer = StoreAsker(plan), StoreAsker(plan)
    try:
        await reader.store.open(())
        await writer.store.open(())
        servers = [*reader.store.servers.values()]
        verdicts = [_server(server) for server in servers]
        for server in servers:
            verdicts += await _time(server, settings.clock_skew_s_max)
        verdicts.append(await _tracking(reader, writer))
        verdicts += [warning("store", text) for text in await warnings_of(servers)]
        return verdicts
    except StoreError as error:
        return [problem("store", str(error))]
    finally:
        await reader.store.close()
        await writer.store.close()


def _server(server: StoreServer) -> Verdict:
    version = ".".join(map(str, server.greeted.version)) or "of unknown version"
    how = "functions" if server.has_functions else "scripts, because functions are not to be had"
    product = server.greeted.product or "a store"
    return ok("store", f"{server.connection.address}: {product} {version}, let in, by {how}")


async def _time(server: StoreServer, skew_s_max: float) -> list[Verdict]:
    """Compare clocks, by the answer that took the shortest time, and measure the way there."""
    took_s: list[float] = []
    ahead_s: list[float] = []
    for _ in range(_ROUNDS):
        began_s = time.monotonic()
        [said] = await server.connection.ask([command("TIME")])
        took_s.append(time.monotonic() - began_s)
        match said:
            case [bytes(seconds), bytes(micros)] if seconds.isdigit() and micros.isdigit():
                there_s = int(seconds) + int(micros) / 1e6
                ahead_s.append(there_s - time.time() + took_s[-1] / 2)
            case _:
                raise StoreError("the store answers TIME by what is none")
    where, way_ms = server.connection.address, median(took_s) * 1000
    skew_s = ahead_s[took_s.index(min(took_s))]
    verdicts = [
        (ok if way_ms <= ROUND_TRIP_MS_MANY else warning)(
            "store", f"{where}: {way_ms:.1f} ms there and back" + (
                "" if way_ms <= ROUND_TRIP_MS_MANY
                else "; every acknowledged write takes as long: use one that is nearer"
            ),
        )
    ]
    if abs(skew_s) > skew_s_max:
        verdicts.append(problem("store", f"{where}: its clock differs by {skew_s:.0f} s, more than "
                                         "clock_skew_s_max; set the clocks by NTP"))
    elif abs(skew_s) > 1:
        verdicts.append(warning("store", f"{where}: its clock differs by {skew_s:.0f} s; set the "
                                         "clocks by NTP"))
    else:
        verdicts.append(ok("store", f"{where}: its clock is right within a second"))
    return verdicts


async def _tracking(reader: StoreAsker, writer: StoreAsker) -> Verdict:
    """See whether what one writes is told to another who has read it."""
    key = f".check.{secrets.token_hex(8)}"
    now_ms = int(time.time() * 1000)
    state = SessionState(now_ms, now_ms, now_ms + _LIFE_MS, {}, {_NODE: 1}, None)
    await reader.ask(Read(key))
    await writer.ask(Merge(key, state, whole=True))
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await reader.heard.wait()
    except TimeoutError:
        pass
    if key in reader.changed:
        return ok("store", "a session was written, and its reader was told")
    return problem("store", "a session was written, and its reader was not told: changes of other "
                            "hosts would be missed; look for a proxy in between, and take it away")
