"""Datagrams of the group: only the cluster's own get in, and each other one is counted."""

from typing import Any, cast

from clustersession.agent.multicast_group import Group
from clustersession.net.multicast import MulticastChannel
from clustersession.settings.settings import Settings
from clustersession.wire.envelope import DropReason
from clustersession.wire.keys import ClusterKeys
from tests.agent.reporting import event_log

SOURCE = ("10.0.0.2", 45_564)


class Wire:
    """Stands for a channel: keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.sent.append(b"closed")


def group(secret: str = "s" * 32, cluster_name: str = "shop", **settings: Any) -> tuple[
    Group, Wire, list[tuple[bytes, bytes]]
]:
    opened: list[tuple[bytes, bytes]] = []
    made = Group(
        Settings(cluster_name=cluster_name, **settings), ClusterKeys.derive([secret], cluster_name),
        event_log(), lambda sender, payload: opened.append((sender, payload)),
    )
    wire = Wire()
    made.channel = cast(MulticastChannel, wire)
    return made, wire, opened


def test_what_one_node_sends_another_opens_once() -> None:
    sender, wire, _ = group()
    receiver, _, opened = group()
    sender.seal_as(b"sendersn", 1)
    sender.send(b"a heartbeat")
    (datagram,) = wire.sent
    receiver._on_datagram(datagram, SOURCE)
    receiver._on_datagram(datagram, SOURCE)
    assert opened == [(b"sendersn", b"a heartbeat")]
    assert receiver.dropped == {DropReason.REPLAYED: 1}


def test_nothing_leaves_before_it_is_known_under_which_node_id() -> None:
    sender, wire, _ = group()
    sender.send(b"too early")
    assert not wire.sent


def test_strangers_are_counted_by_what_is_wrong_with_them() -> None:
    receiver, _, opened = group()
    for secret, name in (("t" * 32, "shop"), ("s" * 32, "stage")):
        stranger, wire, _ = group(secret, name)
        stranger.seal_as(b"stranger", 1)
        stranger.send(b"let me in")
        receiver._on_datagram(wire.sent[0], SOURCE)
    receiver._on_datagram(b"noise", SOURCE)
    assert not opened
    assert receiver.dropped == {
        DropReason.UNKNOWN_KEY: 1, DropReason.OTHER_CLUSTER: 1, DropReason.NOT_OURS: 1
    }


async def test_a_group_that_cannot_be_joined_is_a_line_of_the_log_and_no_error() -> None:
    log = event_log()
    made = Group(
        Settings(bind="192.0.2.77"), ClusterKeys.derive(["s" * 32], "shop"), log,
        lambda sender, payload: None,
    )
    assert await made.join() is False
    ((_, level, text),) = log.recent
    assert level == "warning"
    assert "set seeds" in text
    made.send(b"into the void")
    made.close()
