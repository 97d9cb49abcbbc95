"""The contexts trust the cluster's certificates and nothing else."""

import ssl

import pytest

from clustersession.net.cluster_certificate import cluster_certificate
from clustersession.wire.keys import derive_keys
from tests.net.handshakes import contexts, handshake


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
