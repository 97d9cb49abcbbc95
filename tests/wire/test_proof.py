"""The proof in a hello: only holders of the secret make it, over the certificates shown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustersession.core.errors import WireError
from clustersession.wire.keys import ClusterKeys
from clustersession.wire.proof import PROOF_BYTES, HelloProof

KEYS = ClusterKeys.derive(["s" * 16], "shop")
A, B, M = b"certificate of a", b"certificate of b", b"certificate in between"
a, b = HelloProof(KEYS, A), HelloProof(KEYS, B)


@pytest.mark.parametrize("a_dials", [True, False])
@settings(max_examples=30)
@given(hello=st.binary(max_size=200))
def test_holders_of_the_secret_believe_each_other(hello: bytes, a_dials: bool) -> None:
    proved = a.add(hello, B, we_dialled=a_dials)
    assert b.check(proved, A, we_dialled=not a_dials) == hello


def refused(checker: HelloProof, data: bytes, peer: bytes, *, we_dialled: bool) -> None:
    with pytest.raises(WireError, match="secret"):
        checker.check(data, peer, we_dialled=we_dialled)


def test_another_secret_or_cluster_is_refused() -> None:
    for keys in (ClusterKeys.derive(["t" * 16], "shop"), ClusterKeys.derive(["s" * 16], "mill")):
        refused(b, HelloProof(keys, A).add(b"hello", B, we_dialled=True), A, we_dialled=False)


def test_a_hello_that_somebody_in_between_passes_on_is_refused() -> None:
    to_the_middle = a.add(b"hello", M, we_dialled=True)
    refused(b, to_the_middle, M, we_dialled=False)
    refused(b, to_the_middle, A, we_dialled=False)
    # Nor can it be sent back to where it came from, or be used in the other direction.
    refused(a, to_the_middle, M, we_dialled=True)
    refused(a, a.add(b"hello", B, we_dialled=True), B, we_dialled=True)
    refused(a, b.add(b"hello", A, we_dialled=False), B, we_dialled=False)


@settings(max_examples=50)
@given(data=st.data())
def test_a_changed_hello_is_refused(data: st.DataObject) -> None:
    proved = bytearray(a.add(b"hello", B, we_dialled=True))
    proved[data.draw(st.integers(0, len(proved) - 1))] ^= data.draw(st.integers(1, 255))
    refused(b, bytes(proved), A, we_dialled=False)


@pytest.mark.parametrize("length", [0, 1, PROOF_BYTES - 1, PROOF_BYTES])
def test_a_hello_without_a_proof_is_refused(length: int) -> None:
    refused(b, b"\x00" * length, A, we_dialled=False)


def test_secrets_can_be_replaced_one_node_after_the_other() -> None:
    both = HelloProof(ClusterKeys.derive(["t" * 16, "s" * 16], "shop"), B)
    assert both.check(a.add(b"x", B, we_dialled=True), A, we_dialled=False) == b"x"
    # It leads with the new secret, so every node must know that before any leads with it.
    refused(a, both.add(b"x", A, we_dialled=False), B, we_dialled=True)
