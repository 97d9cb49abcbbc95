"""Two nodes that share no version: each says once which, and nothing else happens."""

import pytest

from clustersession.agent.driver import Driver
from clustersession.core.errors import OtherVersion
from clustersession.replica.opening import open_memory
from clustersession.settings.settings import Settings
from clustersession.wire import messages as m
from tests.support.processes import free_port
from tests.support.waiting import until


class LaterDriver(Driver):
    """A node that has left the current version behind."""

    def _hello(self) -> bytes:
        version = m.PROTOCOL_VERSION + 1
        hello = m.Hello(version + 1, self.settings.cluster_name, self.engine.context.own, version)
        return m.encode_message(hello)

    def _check_hello(self, data: bytes) -> m.Hello:
        hello = m.decode_message(data)
        assert isinstance(hello, m.Hello)
        raise OtherVersion(f"it speaks protocol {hello.version}, too old")


def driver_of(kind: type[Driver], route: str, seed_port: int) -> Driver:
    settings = Settings(
        distributable=True, route=route, secret=("a secret for these tests",), bind="127.0.0.1",
        port=seed_port, port_range=50, multicast_address="", seeds=(f"127.0.0.1:{seed_port}",),
    )
    replica = open_memory(route.encode(), clock_skew_ms_max=300_000)
    return kind(settings, replica)


@pytest.mark.timeout(30)
async def test_both_sides_say_why_and_stay_apart() -> None:
    seed_port = free_port()
    now = driver_of(Driver, "node_now", seed_port)
    later = driver_of(LaterDriver, "node_too", seed_port)
    await now.start()
    await later.start()
    try:
        await until(lambda: lines(now) and lines(later))
        assert not list(now.engine.membership)
        assert not list(later.engine.membership)
    finally:
        await later.stop()
        await now.stop()
    ours = m.PROTOCOL_VERSION
    assert lines(now) == {
        f"dropped: connection refused: it speaks protocol {ours + 1} to {ours + 2}, we speak "
        f"{ours}: upgrade this node, if need be through a release in between"
    }
    assert lines(later) == {f"dropped: not a peer: it speaks protocol {ours}, too old"}


def lines(driver: Driver) -> set[str]:
    """The kinds of lines about what was dropped."""
    return {name for name in driver.event_log.counters if name.startswith("dropped")}
