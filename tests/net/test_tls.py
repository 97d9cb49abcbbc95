"""The cluster's certificate and the contexts that trust it and nothing else."""

import glob
import os
import ssl
import sys
import tempfile
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from clustersession.net.cluster_certificate import cluster_certificate
from clustersession.net.tls import TlsContexts, tls_contexts
from clustersession.replica.opening import open_memory
from clustersession.wire.keys import ClusterKeys, derive_keys


def handshake(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> ssl.SSLObject:
    """Run a handshake in memory and return the server's end."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    return server


def contexts(*secrets: str) -> TlsContexts:
    return tls_contexts(ClusterKeys.derive(secrets, "shop"))


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


def test_the_certificate_is_a_trust_anchor_that_does_not_expire() -> None:
    pem = cluster_certificate(derive_keys("secret", "shop")).certificate_pem
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.not_valid_before_utc.year == 2000
    assert certificate.not_valid_after_utc.year == 9999
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca) == (True, True)
    certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    certificate.verify_directly_issued_by(certificate)
    assert b"shop" not in pem


def test_nodes_of_one_cluster_agree_on_tls_1_3() -> None:
    server = handshake(contexts("secret").server, contexts("secret").client)
    assert server.version() == "TLSv1.3"
    assert server.getpeercert(binary_form=True)


@pytest.mark.parametrize(
    ("server_secrets", "client_secrets", "accepted"),
    [
        (["old"], ["old", "new"], True),
        (["old", "new"], ["new", "old"], True),
        (["new", "old"], ["new"], True),
        (["old"], ["new", "old"], False),
        (["old"], ["new"], False),
    ],
)
def test_trust_is_in_known_secrets(server_secrets, client_secrets, accepted) -> None:
    ours, theirs = contexts(*server_secrets), contexts(*client_secrets)
    for server, client in ((ours.server, theirs.client), (theirs.server, ours.client)):
        if accepted:
            handshake(server, client)
        else:
            with pytest.raises(ssl.SSLError):
                handshake(server, client)


def test_strict_and_default_verification_accept_it() -> None:
    # What ssl.create_default_context does from Python 3.13 on.
    pem = cluster_certificate(derive_keys("secret", "shop")).certificate_pem.decode()
    strict = ssl.create_default_context(cadata=pem)
    strict.check_hostname = False
    strict.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    server = contexts("secret").server
    server.verify_mode = ssl.CERT_NONE
    handshake(server, strict)


@pytest.mark.parametrize("in_memory", [True, False])
def test_no_key_file_stays_behind(monkeypatch, tmp_path, in_memory) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    descriptors = len(glob.glob("/proc/self/fd/*"))
    handshake(contexts("secret").server, contexts("secret").client)
    assert list(tmp_path.iterdir()) == []
    assert len(glob.glob("/proc/self/fd/*")) == descriptors
