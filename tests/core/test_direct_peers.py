"""The note of whom workers may ask directly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.direct_peers import NOBODY, DirectPeer, DirectPeers
from clustersession.core.identity import Address

PEERS = (
    DirectPeer(b"b" * 8, Address("10.0.0.2", 4000)),
    DirectPeer(bytes(8), Address("fe80::1%eth0", 65535)),
)


@pytest.mark.parametrize("everybody", [True, False])
@pytest.mark.parametrize("peers", [(), PEERS[:1], PEERS])
def test_a_note_comes_back(peers: tuple[DirectPeer, ...], everybody: bool) -> None:
    note = DirectPeers(b"a" * 8, peers, everybody)
    assert DirectPeers.decode(note.encode()) == note
    assert DirectPeers.decode(note.encode() + b"\nof a later version") == note


@pytest.mark.parametrize("data", [None, b"", b"zz all", b"00 all x", b"00 all 00/y/1.2.3.4"])
def test_what_is_no_note_names_nobody(data: bytes | None) -> None:
    assert DirectPeers.decode(data) == NOBODY


@given(st.binary())
def test_anything_reads_as_some_note(data: bytes) -> None:
    DirectPeers.decode(data)
