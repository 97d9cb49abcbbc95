"""The driver over real sockets on loopback: links that break, replicas that fail, leaving."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator

import pytest

from clustersession.agent.driver import Driver, moment
from clustersession.core.errors import ReplicaFull
from clustersession.core.identity import Address, Identity
from clustersession.core.state import Change, Creation
from clustersession.net.link_server import Link, dial
from clustersession.net.tls import tls_contexts
from clustersession.node.connections import LINKS_PER_NODE_MAX
from clustersession.node.effects import BeginAgain
from clustersession.node.moment import Moment
from clustersession.replica.opening import open_memory
from clustersession.settings.settings import Settings
from clustersession.tools.demo.processes import free_port
from clustersession.wire.keys import ClusterKeys
from clustersession.wire.messages import PROTOCOL_VERSION, Hello, encode_message
from tests.node.world import key
from tests.support.waiting import until


class Pair:
    """Two drivers, a the seed of b; with a secret that no other run of these tests has."""

    def __init__(self) -> None:
        self.port, self.secret = free_port(), secrets.token_hex()
        self.drivers = {name: self._driver(name) for name in "ab"}
        self.a, self.b = self.drivers["a"], self.drivers["b"]

    def _driver(self, name: str) -> Driver:
        settings = Settings(
            distributable=True, route=name, secret=(self.secret,), bind="127.0.0.1", port=self.port,
            port_range=50, multicast_address="", seeds=(f"127.0.0.1:{self.port}",),
        )
        replica = open_memory(name.encode() * 8, clock_skew_ms_max=300_000)
        return Driver(settings, replica)

    def joined(self) -> bool:
        return all(
            [m.status for m in d.engine.membership] == ["alive"]
            and d.engine.context.phase.name == "READY"
            for d in self.drivers.values()
        )


def write(driver: Driver, number: int, size: int) -> None:
    wall_ms = moment().wall_ms
    creation = Creation(wall_ms, wall_ms + 86_400_000, 0)
    change = Change(key(number), wall_ms, {"pad": b"x" * size}, creation=creation)
    driver.replica.commit([change], wall_ms)
    driver.feed_moved()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    await pair.a.start()
    await pair.b.start()
    await until(pair.joined)
    yield pair
    for driver in pair.drivers.values():
        if not driver._closing:
            await driver.stop()


async def test_a_member_taken_for_dead_is_back_although_its_old_link_is_still_closing(
    pair: Pair,
) -> None:
    node = pair.b.replica.node
    assert pair.a.life.connections.to(node)
    member = pair.a.engine.membership.get(node)
    assert member is not None
    now = moment()
    lost = pair.a.engine.membership._bury(member, "for this test", now.now_s)
    pair.a.engine._member_events.tell([lost], now)
    pair.a.pump(now)
    assert node not in pair.a.engine.context.peers
    await until(pair.joined)


async def test_of_two_links_one_is_left_and_nobody_is_suspected(pair: Pair) -> None:
    """Whoever dials, and both at once: what was written meanwhile arrives."""
    a, b = pair.a, pair.b
    for dials in ([(a, b)], [(b, a)], [(a, b), (b, a)]) * 5:
        newest = [d.life.connections.to(other.replica.node)[0] for d, other in ((a, b), (b, a))]
        for one, other in dials:
            one._spawn(one._dial(other.address, one.engine))
        write(a, 1, 1000)
        await until(lambda old=newest: any(
            link not in old for d in (a, b) for link in d.life.connections
        ))
        await until(lambda: all(len(list(d.life.connections)) == 1 for d in (a, b)))
    await until(lambda: b.replica.digests() == a.replica.digests(), deadline_s=1.5)
    for driver in (a, b):
        assert not driver.event_log.counters["suspicions"]


async def test_one_of_two_links_breaks_and_nothing_stalls(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As an older node does.
    monkeypatch.setattr(pair.a.life.connections, "heard", lambda link, at: None)
    monkeypatch.setattr(pair.a.life.connections, "_close_older", lambda link: False)
    node = pair.b.replica.node
    pair.a._spawn(pair.a._dial(pair.b.address, pair.a.engine))
    await until(lambda: len(pair.a.life.connections.to(node)) >= 2
                and len(pair.b.life.connections.to(b"a" * 8)) >= 2)
    for number in range(20):
        write(pair.a, number, 100_000)
    await asyncio.sleep(0)
    pair.a.life.connections.to(node)[0].abort("for this test")
    await until(lambda: pair.b.replica.digests() == pair.a.replica.digests(), deadline_s=1.5)


async def test_a_replica_that_fails_does_not_stop_the_heart(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ReplicaFull("no space")

    with monkeypatch.context() as patch:
        patch.setattr(pair.a.replica, "feed", full)
        write(pair.a, 1, 10)
        ticks = pair.a.engine.heartbeat.ticks
        await until(lambda: pair.a.engine.heartbeat.ticks > ticks + 3)
    await until(lambda: pair.b.replica.digests() == pair.a.replica.digests())


async def test_the_timer_is_set_for_exactly_what_is_due(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, pump = pair.a, pair.a.pump
    wrong: list[float] = []
    pumped: list[Moment] = []

    def watched(at: Moment) -> None:
        pump(at)
        pumped.append(at)
        if driver._timer_s != driver.engine.next_deadline():
            wrong.append(driver._timer_s)

    monkeypatch.setattr(driver, "pump", watched)
    for number in range(10):
        write(driver, number, 10)
        head = driver.replica.head()
        driver.engine.confirm(number, head, all_peers=False, deadline_s=moment().now_s + 5)
        driver.feed_moved()
        await until(lambda: driver.engine.confirmations.next_deadline() == float("inf"))
    assert len(pumped) >= 20
    assert not wrong


async def test_a_timer_that_is_late_is_not_put_off_by_messages(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, handled = pair.a, []
    start_s = moment().now_s
    late_s = iter(start_s + number / 1e6 for number in range(10**6))
    with monkeypatch.context() as patch:
        patch.setattr(driver.engine, "next_deadline", lambda: next(late_s))
        patch.setattr(driver.engine, "handle_timer", handled.append)
        while moment().now_s < start_s + 0.2:
            driver.pump(moment())
            await asyncio.sleep(0)
    driver.pump(moment())
    assert len(handled) > 10


async def test_what_all_peers_hold_is_streamed_together_in_a_while(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, streamed = pair.a, []
    moved = driver.engine.feed_moved
    monkeypatch.setattr(driver.engine, "feed_moved", lambda at: (streamed.append(at), moved(at)))
    for _ in range(10):
        driver.feed_moved(held=True)
        await asyncio.sleep(0)
    assert not streamed
    await until(lambda: bool(streamed))
    assert len(streamed) == 1
    # Whoever has something to wait for does not wait for that.
    driver.feed_moved(held=True)
    driver.feed_moved()
    await asyncio.sleep(0)
    assert len(streamed) == 2
    assert driver._held is None


async def test_who_leaves_hands_over_what_it_wrote_last(pair: Pair) -> None:
    for number in range(60):
        write(pair.a, number, 500_000)
    links = list(pair.a.life.connections)
    await pair.a.stop()
    assert all(link.is_closed for link in links)
    assert not list(pair.a.life.connections)
    await until(lambda: not pair.b.engine.context.peers)
    assert pair.b.replica.digests() == pair.a.replica.digests()


async def test_a_past_lost_noticed_twice_costs_one_node_id(pair: Pair) -> None:
    before = pair.a.replica.node
    engine = pair.a.engine
    engine.context.emit(BeginAgain())
    engine.context.emit(BeginAgain())
    pair.a.pump(moment())
    renewed = pair.a.engine
    assert renewed is not engine
    assert pair.a.replica.node != before
    write(pair.a, 5, 10)
    await until(lambda: pair.b.replica.digests() == pair.a.replica.digests())
    assert pair.a.engine is renewed


async def test_the_log_names_who_remembers_the_past_that_was_lost(pair: Pair) -> None:
    pair.a.engine._lose_past(pair.b.replica.node)
    pair.a.pump(moment())
    route = pair.b.settings.route
    assert pair.a.event_log.events["past_lost"] == 1
    assert [text for _, _, text in pair.a.event_log.recent if text.startswith(f"{route} has seen")]


async def test_one_that_throws_us_out_while_it_dies_is_dialled_again_at_once(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [ConnectionResetError()]
    seen: list[tuple[object, bool]] = []

    async def dial(*_: object, **__: object) -> None:
        raise errors.pop() if errors else ConnectionRefusedError

    with monkeypatch.context() as patch:
        patch.setattr("clustersession.agent.driver.dial", dial)
        patch.setattr(
            pair.a.engine, "dial_failed",
            lambda address, refused, at: seen.append((address, refused)),
        )
        await pair.a._dial(pair.b.address, pair.a.engine)
    assert seen == [(pair.b.address, True)]


async def test_nobody_holds_more_than_some_connections_and_members_stay_in(pair: Pair) -> None:
    held: list[Link] = []
    address = pair.a.address
    tls = tls_contexts(ClusterKeys.derive((pair.secret,), pair.a.settings.cluster_name))
    # Somebody answers where it says it is, or it would soon count as dead.
    there = socket.create_server(("127.0.0.1", 0))
    port = there.getsockname()[1]
    connections = pair.a.life.connections
    flooder = Identity(b"flooder!", 1 << 40, "evil", Address("127.0.0.1", port))
    name = pair.a.settings.cluster_name
    hello = encode_message(Hello(PROTOCOL_VERSION, name, flooder, PROTOCOL_VERSION))
    for _ in range(3 * LINKS_PER_NODE_MAX):
        link = await dial(
            address.host, address.port, tls.client, hello, pair.b.life.check_hello, 5.0
        )
        link.start(lambda link, payload: None, lambda link, reason: None)
        held.append(link)
        # In time: after a while of silence all of them would be closed.
        assert 0 < len(connections.to(flooder.node)) <= LINKS_PER_NODE_MAX
    assert connections.to(pair.b.engine.context.own.node)
    for link in held:
        link.abort("over")
    there.close()
