"""What reaches the agent by UDP: only what is sealed, once, and a change."""

import socket

import pytest

from clustersession.agent.direct_listener import DirectListener
from clustersession.agent.event_log import EventLog
from clustersession.core.errors import WireError
from clustersession.settings.settings import Settings
from clustersession.wire.envelope import DropReason, Opened, Opener, Sealer
from clustersession.wire.keys import ClusterKeys

NAME = "test"
KEYS = ClusterKeys.derive(["a secret of tests alone"], NAME)
SOURCE = ("10.0.0.9", 1234)


def take(asker: bytes, payload: bytes) -> bytes:
    if payload == b"no change":
        raise WireError("no change")
    return asker + payload


@pytest.fixture
def listener() -> DirectListener:
    settings = Settings(secret=("a secret of tests alone",), cluster_name=NAME)
    return DirectListener(settings, KEYS, EventLog(settings, bytes.hex), take)


def sealer(sender: bytes = b"a worker", secret: str = "a secret of tests alone") -> Sealer:
    return Sealer(ClusterKeys.derive([secret], NAME), NAME, sender, 1)


def test_a_change_is_answered_under_seal(listener: DirectListener) -> None:
    answer = listener._on_datagram(sealer().seal(b" sends this"), SOURCE)
    assert answer is not None
    opened = Opener(KEYS, NAME).open(answer)
    assert isinstance(opened, Opened)
    assert opened.payload == b"a worker sends this"
    assert opened.sender != b"a worker"
    assert not listener.dropped


def test_everything_else_is_dropped_and_counted(listener: DirectListener) -> None:
    data = sealer().seal(b"this")
    assert listener._on_datagram(data, SOURCE) is not None
    forged = sealer(b"stranger", "another secret").seal(b"this")
    for wrong in (
        data, data[:40], data[:-1] + b"\x00", forged, b"GET / HTTP/1.1", b"",
        sealer(b"an agent").seal(b"no change"),
    ):
        assert listener._on_datagram(wrong, SOURCE) is None
    assert sum(listener.dropped.values()) == 7
    assert listener.dropped[DropReason.REPLAYED] == 2


def test_strangers_cost_no_memory(listener: DirectListener) -> None:
    for number in range(100):
        wrong = sealer(number.to_bytes(8, "big"), "another secret").seal(b"this")
        assert listener._on_datagram(wrong, SOURCE) is None
    assert not listener._opener._senders


async def test_a_port_that_is_taken_is_said_and_done_without(
    listener: DirectListener, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert not listener.open("127.0.0.1", port)
        assert str(port) in caplog.text
    assert listener.open("127.0.0.1", port)
    listener.close()
    listener.close()
