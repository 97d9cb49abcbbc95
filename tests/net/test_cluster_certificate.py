"""The certificate that follows from a secret is built once, kept, and judged when it is read."""

import sys
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from clustersession.net.cluster_certificate import cluster_certificate
from clustersession.replica.opening import open_memory
from clustersession.wire.keys import derive_keys


def test_every_node_builds_the_same_certificate() -> None:
    one, two = (cluster_certificate(derive_keys("secret", "shop")) for _ in range(2))
    assert one == two
    assert one != cluster_certificate(derive_keys("secret", "another shop"))
    assert one != cluster_certificate(derive_keys("another secret", "shop"))


def test_the_key_is_as_the_library_would_write_it() -> None:
    keys = derive_keys("secret", "shop")
    key = Ed25519PrivateKey.from_private_bytes(keys.tls_seed)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert cluster_certificate(keys).key_pem == pem


def test_one_that_was_built_is_kept_and_building_is_not_even_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys, replica = derive_keys("secret", "shop"), open_memory(b"node-aaa", clock_skew_ms_max=0)
    built = cluster_certificate(keys, replica)
    monkeypatch.setitem(sys.modules, "clustersession.net.cluster_certificate_issuing", None)
    assert cluster_certificate(keys, replica) == built
    with pytest.raises(ImportError):
        cluster_certificate(derive_keys("another secret", "shop"), replica)


@pytest.mark.parametrize("harm", [
    lambda note: b"", lambda note: note[:-1], lambda note: note[:40],
    lambda note: note[:60] + bytes([note[60] ^ 1]) + note[61:],
    lambda note: bytes([note[0] ^ 1]) + note[1:],
])
def test_a_kept_one_that_is_not_whole_is_built_anew(harm: Callable[[bytes], bytes]) -> None:
    keys, replica = derive_keys("secret", "shop"), open_memory(b"node-aaa", clock_skew_ms_max=0)
    built = cluster_certificate(keys, replica)
    name = f"certificate {keys.key_id.hex()}"
    whole = replica.load_note(name)
    assert whole is not None
    replica.save_note(name, harm(whole))
    assert cluster_certificate(keys, replica) == built
    assert replica.load_note(name) == whole


def test_the_key_does_not_show() -> None:
    certificate = cluster_certificate(derive_keys("secret", "shop"))
    assert "PRIVATE" not in repr(certificate)
